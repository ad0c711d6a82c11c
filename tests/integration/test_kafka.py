"""The last record of a log is found before control records, and a broker that is not ready is recognised."""

import errno
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kafka.net.manager
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaConnectionError
from kazoo.client import KazooClient

from emostream.config import KafkaSettings
from emostream.runtime.kafka import abandon, durable_producer, last_record, log_reader, transactional_producer
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, own_broker, running, with_all_faults
from tests.integration.silence import silent_address
from tests.integration.viewers import wait_until

# A broker loads one partition of its transactions after another, and logs how each of them ended.
_GAVE_UP_LOADING = "Uncaught exception in scheduled task 'load-txns"
_ENDED_LOADING = re.compile(rf"Finished loading \d+ transaction metadata|{_GAVE_UP_LOADING}")
_STATE_PARTITIONS = 3


@pytest.fixture
def settings(kafka: Server) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(kafka.address,))


@pytest.fixture
def partition(kafka: Server) -> TopicPartition:
    topic = f"log-{uuid.uuid4().hex[:8]}"
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])
    return TopicPartition(topic, 0)


@pytest.fixture
def reader(settings: KafkaSettings) -> Iterator[KafkaConsumer]:
    with log_reader(settings.bootstrap_servers, settings.max_record_bytes) as consumer:
        yield consumer


def test_a_client_hears_of_leaders_after_the_socket_of_a_new_connection_failed(
    reader: KafkaConsumer, partition: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_record(reader, partition)
    manager = reader._client._manager
    transport = kafka.net.manager.KafkaTCPTransport
    has_failed = threading.Event()

    def failing_once(net: Any, connection: socket.socket, **more: Any) -> Any:
        if has_failed.is_set():
            return transport(net, connection, **more)
        has_failed.set()
        connection.close()
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr("kafka.net.manager.KafkaTCPTransport", failing_once)
    for connection in list(manager._conns.values()):
        manager._net.call_soon_threadsafe(lambda each=connection: each.close(KafkaConnectionError("the broker died")))
    assert has_failed.wait(30)
    failed_at_ms = time.monotonic() * 1_000
    wait_until(lambda: manager.cluster._last_successful_refresh_ms > failed_at_ms, 30)


def test_an_empty_log_has_no_last_record(reader: KafkaConsumer, partition: TopicPartition) -> None:
    assert last_record(reader, partition) is None


def test_the_last_record_of_a_plain_log(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with durable_producer(settings) as producer:
        for value in (b"first", b"second"):
            producer.send(partition.topic, value, partition=0).get(10)
    assert last_record(reader, partition).value == b"second"


def test_the_last_committed_record_is_found_behind_many_aborted_ones(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with transactional_producer(settings, partition.topic, 10_000) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(partition.topic, b"committed", partition=0)
        producer.commit_transaction()
        for _ in range(20):
            producer.begin_transaction()
            producer.send(partition.topic, b"aborted", partition=0).get(10)
            producer.abort_transaction()
    assert last_record(reader, partition).value == b"committed"


def test_what_a_dead_writer_left_open_is_waited_for_and_not_read(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with transactional_producer(settings, partition.topic, 10_000) as dead:
        dead.init_transactions()
        dead.begin_transaction()
        dead.send(partition.topic, b"committed", partition=0)
        dead.commit_transaction()
        dead.begin_transaction()
        dead.send(partition.topic, b"left open", partition=0).get(10)
        with transactional_producer(settings, partition.topic, 10_000) as successor:
            successor.init_transactions()
            assert last_record(reader, partition).value == b"committed"


def test_the_clients_find_a_living_broker_beside_dead_ones(kafka: Server) -> None:
    """kafka-python picks one at random, and waits for it as long as for all of them."""
    with silent_address() as one, silent_address() as other:
        brokers = (one, other, kafka.address)
        for _ in range(3):
            with log_reader(brokers, 1 << 20) as reader:
                assert reader.topics() is not None


def test_a_transaction_that_begins_while_its_coordinator_is_away_ends_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with own_broker(tmp_path) as broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,))
        with KafkaAdminClient(bootstrap_servers=broker.address) as admin:
            admin.create_topics([NewTopic("log", 1, 1)])
        producer = transactional_producer(settings, "writer", 60_000)
        try:
            producer.init_transactions()
            _commit(producer, b"before")
            broker.process.send_signal(signal.SIGKILL)
            wait_until(lambda: not broker.process.is_running())
            # A commit that never ends must not hold up the test.
            committing = threading.Thread(target=_commit, args=(producer, b"while it was away"), daemon=True)
            committing.start()
            wait_until(lambda: caplog.text.count("Connection failed") > 5)
            wait_until(broker.is_back, 60, every_seconds=0.5)
            committing.join(60)
            assert not committing.is_alive()
        finally:
            abandon(producer, 1)
        with log_reader(settings.bootstrap_servers, settings.max_record_bytes) as reader:
            assert last_record(reader, TopicPartition("log", 0)).value == b"while it was away"


def _commit(producer: KafkaProducer, value: bytes) -> None:
    producer.begin_transaction()
    producer.send("log", value, partition=0)
    producer.commit_transaction()


@pytest.mark.faults
@with_all_faults
def test_a_broker_whose_session_ends_while_it_loads_is_not_ready_until_it_is_started_again(tmp_path: Path) -> None:
    zookeeper_port, port = servers.free_port(), servers.free_port()
    with (
        running(servers.zookeeper(tmp_path / "zookeeper", zookeeper_port), zookeeper_port) as zookeeper,
        running(servers.kafka(tmp_path / "kafka", port, zookeeper_port), port) as broker,
    ):
        _use_transactions(broker)
        # The moment between the first answer and the loading is short, so it may take several tries to meet it.
        assert any(_lost_its_session_while_loading(broker, zookeeper) for _ in range(8))
        # The broker is back in ZooKeeper and answers, but it has given up loading the state.
        wait_until(lambda: _is_registered(zookeeper), 60)
        assert not broker.process.is_ready()
        broker.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not broker.process.is_running())
        wait_until(broker.is_back, 60, every_seconds=0.5)
        _use_transactions(broker)


def _lost_its_session_while_loading(broker: Server, zookeeper: Server) -> bool:
    """Restart the broker, stop ZooKeeper once the broker answers, and return whether it gave up loading its state."""
    process = broker.process
    process.stop()
    process.start()
    # It answers, and ZooKeeper must tell it how many partitions there are before it can load their state.
    wait_until(lambda: _accepts(broker.port), 60, every_seconds=0.01)
    with _stopped(zookeeper.process):
        # Longer than its session, which is known to have ended only when ZooKeeper goes on.
        time.sleep(10)
    wait_until(
        lambda: not process.is_running() or len(_ENDED_LOADING.findall(process.log_text())) >= _STATE_PARTITIONS, 60
    )
    return process.is_running() and _GAVE_UP_LOADING in process.log_text()


def _use_transactions(broker: Server) -> None:
    settings = KafkaSettings(bootstrap_servers=(broker.address,))
    for number in range(3):
        with transactional_producer(settings, f"writer-{number}", 10_000) as producer:
            producer.init_transactions()


def _is_registered(zookeeper: Server) -> bool:
    client = KazooClient(hosts=zookeeper.address)
    client.start()
    try:
        return client.exists("/kafka/brokers/ids/1") is not None
    finally:
        client.stop()
        client.close()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((servers.HOST, port)) == 0


@contextmanager
def _stopped(process: Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
