"""`emostream trace` on a real broker: from the id in an answer of ingest to the swarm that counted the reactions."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition

from emostream import model
from emostream.config import ClustersSettings, KafkaSettings
from emostream.model import Swarm
from emostream.operate import topics
from emostream.runtime.kafka import admin_client, durable_producer, last_record, log_reader
from emostream.swarms.log import DeadLetter, SwarmLog
from emostream.swarms.rules import (
    Batch,
    Changes,
    Compression,
    Group,
    changed_swarm,
    empty_swarm,
    next_swarm,
    progress_of,
)
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, own_broker

COMPRESSION = Compression(1_000, "ceil")
BODY = json.dumps({"user_id": "u", "emoji_type": "🔥", "timestamp": 1}).encode()


@pytest.fixture(scope="module")
def kafka_settings(server_dir: Path) -> Iterator[KafkaSettings]:
    with own_broker(server_dir / "trace") as broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), reactions_partitions=2)
        topics.apply(settings, ClustersSettings(names=("cluster1",)))
        yield settings


@pytest.fixture(scope="module")
def ingest(kafka_settings: KafkaSettings, zookeeper: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an ingest that logs which record each request went into."""
    port, admin_port = servers.free_port(), servers.free_port()
    process = Process(
        "ingest",
        [sys.executable, "-m", "emostream", "ingest", "--port", str(port), "--admin-port", str(admin_port)],
        log_file=tmp_path_factory.mktemp("ingest") / "ingest.log",
        environment={
            "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka_settings.bootstrap_servers),
            "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
            "EMOSTREAM_LOG_LEVEL": "debug",
        },
        probe=lambda: ask(port, "GET", "/readyz")[0] == 200,
    )
    process.start()
    try:
        process.wait_ready(60)
        yield port
    finally:
        process.stop()
    lines = [json.loads(line) for line in process.log_text().splitlines() if line.startswith("{")]
    written = [line for line in lines if line["event"] == "record written"]
    assert {"its.Own_id-1"} <= {name for line in written for name in line["requests"]["main"]}
    assert all({"partition", "offset"} <= line.keys() for line in written)


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """The status of an answer, its id, and its body."""
    connection = http.client.HTTPConnection(servers.HOST, port, timeout=20)
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    try:
        return response.status, response.headers["X-Request-Id"], response.read()
    finally:
        connection.close()


def react(port: int, **headers: str) -> tuple[str, int, int]:
    """The id of a request, and the partition and the offset that its answer names."""
    status, request, body = ask(port, "POST", "/v1/reactions", BODY, **headers)
    assert status == 202
    record = json.loads(body)["record"]
    return request, record["partition"], record["offset"]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command."""
    monkeypatch.setenv("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", ",".join(kafka_settings.bootstrap_servers))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "emostream", "trace", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run


def append(
    settings: KafkaSettings, make: Callable[[Swarm], Swarm], letters: Callable[[], list[DeadLetter]] = list
) -> Swarm:
    """Write the next swarm, as an aggregator does."""
    with SwarmLog(settings, 10_000) as log:
        last = log.last()
        assert last is not None
        swarm = make(last)
        log.append(swarm, letters())
    return swarm


def counting(partition: int, offset: int, event: str = model.MAIN) -> Callable[[Swarm], Swarm]:
    """A swarm that counts up to this record, and in it one reaction to an event."""

    def make(last: Swarm) -> Swarm:
        begin = progress_of(last).offsets.get(str(partition), 0)
        groups = [Group(partition, "🔥", 1, offset + 1 - begin, begin, offset, event)]
        return next_swarm(last, Batch({partition: offset + 1}, groups), time.time_ns() // 1_000_000, 250, COMPRESSION)

    return make


def test_a_request_is_followed_to_its_record_and_to_the_swarm_that_counts_it(
    ingest: int, kafka_settings: KafkaSettings, run: Run
) -> None:
    request, partition, offset = react(ingest)
    ran = run(request)
    assert ran.returncode == 1
    assert f"accepted by ingest {servers.HOST}:{ingest}, for the event main" in ran.stdout
    assert f"written to reactions/{partition}, offset {offset}, at 20" in ran.stdout
    assert "not counted yet" in ran.stderr
    swarm = append(kafka_settings, counting(partition, offset))
    ran = run(request)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"counted by swarm {swarm.id} of the event main, sequence {swarm.sequence}, window 20" in ran.stdout
    # Not by one before it.
    assert ran.stdout.endswith(" UTC\n")
    # Kafka deletes swarms by size.
    append(kafka_settings, lambda last: empty_swarm(last, time.time_ns() // 1_000_000, 250))
    swarms = TopicPartition(model.SWARMS_TOPIC, 0)
    with log_reader(kafka_settings.bootstrap_servers, 2 << 20) as reader:
        newest = last_record(reader, swarms)
    with admin_client(kafka_settings.bootstrap_servers) as admin:
        admin.delete_records({swarms: newest.offset})
    assert run(request).stdout.endswith("; or by one before it, which Kafka no longer has\n")


def test_an_id_without_a_time_needs_to_know_how_far_to_look_back(
    ingest: int, kafka_settings: KafkaSettings, run: Run
) -> None:
    request, partition, offset = react(ingest, **{"X-Request-Id": "its.Own_id-1"})
    assert request == "its.Own_id-1"
    assert "say how far to look back, as --minutes 30" in run(request).stderr
    append(kafka_settings, counting(partition, offset))
    assert "counted by swarm" in run(request, "--minutes", "5").stdout


def test_what_is_not_there_is_told_with_the_reason(ingest: int, run: Run) -> None:
    status, request, _ = ask(ingest, "POST", "/v1/reactions", b"junk")
    assert status == 400
    assert "It was refused, or it reached no ingest: `journalctl -u haproxy --grep" in run(request).stderr
    old = f"{time.time_ns() // 1_000_000 - 25 * 3_600_000}-0123456789ab"
    assert "too old: Kafka deletes records of reactions after 24 hours" in run(old).stderr
    ran = run("a b")
    assert (ran.returncode, "is no id of a request" in ran.stderr) == (1, True)


def test_a_reaction_to_another_event_is_told_with_the_ids_of_that_event(
    kafka_settings: KafkaSettings, run: Run
) -> None:
    request = f"{time.time_ns() // 1_000_000}-0123456789ab"
    requests = model.Requests("ingest1:8000", {"final": [request]})
    value = b'[{"user_id":"u","emoji_type":"\xf0\x9f\x94\xa5","timestamp":1,"event":"final"}]'
    with durable_producer(kafka_settings) as producer:
        headers = [("counts", b"{}"), (model.REQUESTS_HEADER, model.encode(requests))]
        sent = producer.send(model.REACTIONS_TOPIC, value, headers=headers).get(60)
    append(kafka_settings, lambda last: changed_swarm(last, Changes(opened={"final": "f"}), 1_000, 250))
    append(kafka_settings, counting(sent.partition, sent.offset, "final"))
    assert "counted by swarm f-1 of the event final, sequence 1" in run(request).stdout


def test_a_dead_letter_is_told_with_its_reason(kafka_settings: KafkaSettings, run: Run) -> None:
    request = f"{time.time_ns() // 1_000_000}-ba9876543210"
    requests = model.Requests("ingest1:8000", {"archived": [request], "main": ["another"]})
    with durable_producer(kafka_settings) as producer:
        headers = [("counts", b"{}"), (model.REQUESTS_HEADER, model.encode(requests))]
        sent = producer.send(model.REACTIONS_TOPIC, b"[1]", headers=headers).get(60)
    letter = DeadLetter(sent.partition, sent.offset, "it came late", 2, b"[]")
    append(kafka_settings, counting(sent.partition, sent.offset), lambda: [letter])
    ran = run(request)
    assert (ran.returncode, ran.stdout.count("accepted by ingest ingest1:8000")) == (1, 1)
    assert "set aside as a dead letter by swarm" in ran.stderr
    assert "it came late" in ran.stderr
    # The others of the same record count.
    assert "counted by swarm" in run("another", "--minutes", "5").stdout
