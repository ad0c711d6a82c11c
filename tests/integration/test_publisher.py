"""A publisher relays each swarm once and in order, whatever happens to it, to its log or to the brokers."""

import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from kazoo.client import KazooClient

from emostream import model
from emostream.config import KafkaSettings, PublisherSettings
from emostream.publisher.service import Term
from emostream.runtime.kafka import durable_producer, log_reader, records_until
from emostream.runtime.readiness import Readiness
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST
from tests.conftest import RunTier, Server, own_broker, start_at_taken_port
from tests.integration.asking import metric, unreadiness
from tests.integration.viewers import wait_until
from tests.unit.subscriber.examples import swarm

SWARMS = TopicPartition(model.SWARMS_TOPIC, 0)


@pytest.fixture(scope="module")
def source(server_dir: Path) -> Iterator[Server]:
    """A broker for `swarms`, with its own ZooKeeper. The session's broker holds the cluster's topic."""
    with own_broker(server_dir / "source") as broker:
        yield broker


@dataclass
class Swarms:
    """The topic `swarms`, recreated for each test, and a stream that is written to it."""

    broker: Server
    values: list[bytes] = field(default_factory=list)

    def write(self, *sequences: int, stream: str = "s") -> None:
        self.write_raw(*(model.encode(swarm(stream, sequence)) for sequence in sequences))

    def write_raw(self, *values: bytes) -> None:
        # A producer that outlives the broker would reconnect for ever and leave its sockets open.
        with durable_producer(KafkaSettings(bootstrap_servers=(self.broker.address,))) as producer:
            for value in values:
                producer.send(SWARMS.topic, value, partition=0)
            producer.flush(60)
        self.values.extend(values)

    def remake(self) -> None:
        """Delete the topic with all its records, and create it again."""
        with KafkaAdminClient(bootstrap_servers=self.broker.address) as admin:
            if SWARMS.topic in admin.list_topics():
                admin.delete_topics([SWARMS.topic])

            def is_made() -> bool:
                try:
                    admin.create_topics([NewTopic(SWARMS.topic, 1, 1)])
                except TopicAlreadyExistsError:  # It is still being deleted.
                    return False
                return True

            wait_until(is_made)
        self.values.clear()

    def trim(self, before_offset: int) -> None:
        with KafkaAdminClient(bootstrap_servers=self.broker.address) as admin:
            admin.delete_records({SWARMS: before_offset})


@dataclass
class Publisher:
    """A running publisher."""

    process: Process
    port: int

    def is_ready(self) -> bool:
        return not self.reason()

    def reason(self) -> str:
        return unreadiness(self.port)

    def metric(self, name: str) -> float:
        return metric(self.port, f"emostream_publisher_{name}")

    def leads(self) -> bool:
        return self.metric("leader") == 1


Start = Callable[[], Publisher]


@pytest.fixture
def swarms(source: Server) -> Swarms:
    made = Swarms(source)
    made.remake()
    return made


@dataclass
class Cluster:
    """The cluster's topic, on brokers of its own."""

    name: str
    broker: Server

    def records(self) -> list[Any]:
        partition = TopicPartition(self.name, 0)
        with log_reader((self.broker.address,), 1 << 20) as reader:
            reader.assign([partition])
            end = reader.end_offsets([partition])[partition]
            return list(records_until(reader, partition, 0, end, 30))

    def ids(self) -> list[str]:
        return [model.decode_swarm(record.value).id for record in self.records()]


@pytest.fixture
def cluster(kafka: Server) -> Cluster:
    name = f"cluster-{uuid.uuid4().hex[:8]}"
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
    return Cluster(name, kafka)


@pytest.fixture
def environment(source: Server, cluster: Cluster, zookeeper: Server) -> dict[str, str]:
    return {
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": source.address,
        "EMOSTREAM_PUBLISHER_BOOTSTRAP_SERVERS": cluster.broker.address,
        "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
        "EMOSTREAM_ZOOKEEPER_ROOT": f"/{cluster.name}",
        "EMOSTREAM_ZOOKEEPER_SESSION_TIMEOUT_MS": "4000",
    }


@pytest.fixture
def start(cluster: Cluster, environment: dict[str, str], run_tier: RunTier) -> Start:
    """Starts a publisher of the cluster and waits until it is ready."""

    def make() -> Publisher:
        tier = run_tier("publisher", "--cluster", cluster.name, environment=environment)
        return Publisher(tier.process, tier.port)

    return make


def test_each_swarm_is_relayed_unchanged_with_its_place(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0, 1, 2)
    publisher = start()
    swarms.write(*range(3, 200))
    wait_until(lambda: publisher.metric("head_sequence") == 199)
    records = cluster.records()
    assert [record.value for record in records] == swarms.values
    with log_reader((swarms.broker.address,), 1 << 20) as reader:
        reader.assign([SWARMS])
        originals = list(records_until(reader, SWARMS, 0, 200, 30))
    assert [dict(record.headers) for record in records] == [
        {"swarms-offset": b"%d" % original.offset, "swarms-timestamp": b"%d" % original.timestamp}
        for original in originals
    ]
    assert publisher.metric("relayed_swarms_total") == 200
    assert publisher.metric("relay_seconds_count") == 200
    wait_until(lambda: publisher.metric("lag_records") == 0)


def test_a_killed_one_goes_on_where_the_clusters_topic_ends(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0, 1, 2)
    first = start()
    wait_until(lambda: len(cluster.records()) == 3)
    first.process.send_signal(signal.SIGKILL)
    swarms.write(3, 4)
    second = start()
    wait_until(lambda: second.metric("head_sequence") == 4)
    assert cluster.ids() == [f"s-{sequence}" for sequence in range(5)]


def test_a_standby_is_ready_and_takes_over(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0)
    leader = start()
    wait_until(leader.leads)
    standby = start()
    assert not standby.leads()
    leader.process.terminate()
    wait_until(lambda: not leader.process.is_running())
    assert leader.process.exit_status == 0
    swarms.write(1)
    wait_until(lambda: cluster.ids() == ["s-0", "s-1"])
    assert standby.leads()


def test_a_second_one_at_the_same_port_ends_and_leaves_the_leader_alone(
    swarms: Swarms, cluster: Cluster, start: Start, environment: dict[str, str], zookeeper: Server
) -> None:
    swarms.write(0)
    leader = start()
    wait_until(leader.leads)
    observer = KazooClient(zookeeper.address)
    observer.start()
    try:
        path = f"/{cluster.name}/services/publisher/{cluster.name}@{HOST}:{leader.port}"
        wait_until(lambda: observer.exists(path) and json.loads(observer.get(path)[0])["leader"])
        made = observer.get(path)[1]
        start_at_taken_port(leader.port, "publisher", "--cluster", cluster.name, environment=environment)
        assert observer.get(path)[1] == made
    finally:
        observer.stop()
        observer.close()
    assert leader.leads()
    assert leader.metric("terms_total") == 1


def test_one_that_wakes_up_after_it_was_replaced_relays_no_more(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0)
    sleeper = start()
    wait_until(sleeper.leads)
    successor = start()
    sleeper.process.send_signal(signal.SIGSTOP)
    wait_until(successor.leads, 30)
    swarms.write(1, 2)
    wait_until(lambda: successor.metric("head_sequence") == 2)
    sleeper.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not sleeper.leads())
    swarms.write(3)
    wait_until(lambda: successor.metric("head_sequence") == 3)
    # It may have written repeats before it noticed. Subscribers drop them by their sequence.
    assert list(dict.fromkeys(cluster.ids())) == ["s-0", "s-1", "s-2", "s-3"]
    assert cluster.ids()[-1] == "s-3"


def test_one_that_had_trouble_is_ready_again_while_another_leads(
    swarms: Swarms, cluster: Cluster, start: Start
) -> None:
    swarms.write(0)
    pair = [start(), start()]
    wait_until(lambda: cluster.ids() == ["s-0"])
    with KafkaProducer(bootstrap_servers=cluster.broker.address) as stranger:
        foreign = stranger.send(cluster.name, b"not a publisher's").get(30)
    # The elected publisher cannot continue from the last record, and resigns.
    leader, standby = sorted(pair, key=Publisher.leads, reverse=True)
    leader.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: standby.metric("terms_total") >= 1, 30)
    leader.process.send_signal(signal.SIGCONT)
    for each in pair:
        wait_until(lambda each=each: "another program" in each.reason(), 30, each.process.log_tail)
    with KafkaAdminClient(bootstrap_servers=cluster.broker.address) as admin:
        admin.delete_records({TopicPartition(cluster.name, 0): foreign.offset + 1})
    wait_until(lambda: all(each.is_ready() for each in pair), 30, lambda: [each.reason() for each in pair])
    assert sum(each.leads() for each in pair) == 1


def test_swarms_made_anew_are_relayed_from_their_beginning(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0, 1, 2)
    first = start()
    wait_until(lambda: len(cluster.records()) == 3)
    first.process.stop()
    swarms.remake()
    swarms.write(*range(6), stream="t")
    start()
    wait_until(lambda: len(cluster.records()) == 9)
    assert cluster.ids() == ["s-0", "s-1", "s-2", *(f"t-{sequence}" for sequence in range(6))]


def test_after_swarms_was_trimmed_it_goes_on_with_what_there_is(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0, 1)
    first = start()
    wait_until(lambda: len(cluster.records()) == 2)
    first.process.stop()
    swarms.write(2, 3, 4)
    swarms.trim(before_offset=4)
    second = start()
    wait_until(lambda: second.metric("head_sequence") == 4)
    assert cluster.ids() == ["s-0", "s-1", "s-4"]
    assert second.metric("gaps_total") == 1


def test_a_record_that_is_no_swarm_is_skipped_and_counted(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0)
    swarms.write_raw(b"no swarm")
    swarms.write(1)
    publisher = start()
    wait_until(lambda: cluster.ids() == ["s-0", "s-1"])
    assert publisher.metric("unreadable_records_total") == 1


def test_out_of_office_it_writes_no_more_of_what_its_brokers_did_not_acknowledge(
    swarms: Swarms, cluster: Cluster
) -> None:
    swarms.write(0)
    is_in_office = threading.Event()
    is_in_office.set()
    kafka = KafkaSettings(bootstrap_servers=(swarms.broker.address,))
    settings = PublisherSettings(cluster=cluster.name, bootstrap_servers=(cluster.broker.address,))
    term = Term(settings, kafka, Readiness("relay"), is_in_office.is_set)
    errors: list[Exception] = []

    def serve() -> None:
        try:
            term.run()
        except Exception as error:
            errors.append(error)

    before = set(threading.enumerate())
    serving = threading.Thread(target=serve)
    serving.start()
    wait_until(lambda: cluster.ids() == ["s-0"])
    cluster.broker.process.send_signal(signal.SIGSTOP)
    try:
        swarms.write(1, 2)
        wait_until(lambda: len(term._in_flight) == 2)
        is_in_office.clear()
        serving.join(20)
        assert not serving.is_alive()
        wait_until(lambda: not set(threading.enumerate()) - before, describe=threading.enumerate)
    finally:
        cluster.broker.process.send_signal(signal.SIGCONT)
    assert not errors


def test_brokers_that_go_and_come_back(swarms: Swarms, cluster: Cluster, start: Start) -> None:
    swarms.write(0)
    publisher = start()
    wait_until(lambda: cluster.ids() == ["s-0"])

    cluster.broker.process.send_signal(signal.SIGSTOP)
    try:
        swarms.write(1)
        wait_until(lambda: "do not acknowledge" in publisher.reason(), 30, publisher.process.log_tail)
    finally:
        cluster.broker.process.send_signal(signal.SIGCONT)
    wait_until(publisher.is_ready, 60, publisher.process.log_tail)

    swarms.broker.process.send_signal(signal.SIGKILL)
    wait_until(lambda: not swarms.broker.process.is_running())
    wait_until(lambda: "cannot be read" in publisher.reason(), 30, publisher.process.log_tail)
    wait_until(swarms.broker.is_back, 120, swarms.broker.process.log_tail)
    swarms.write(2)
    wait_until(lambda: publisher.metric("head_sequence") == 2, 60, publisher.process.log_tail)
    wait_until(publisher.is_ready)
    assert cluster.ids() == ["s-0", "s-1", "s-2"]
