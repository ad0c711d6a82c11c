"""Every reaction is counted once, whatever happens to the aggregator. Invalid records become dead letters."""

import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from emostream import model
from emostream.aggregator.driver import EXIT_OUTCOME_UNKNOWN
from emostream.config import ClustersSettings, KafkaSettings
from emostream.errors import OutcomeUnknownError
from emostream.model import (
    COUNTS_HEADER,
    DEAD_LETTER_TOPIC,
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    WARMUP_TOPIC,
    Reaction,
    Swarm,
    encode,
)
from emostream.operate import topics
from emostream.runtime.kafka import admin_client, durable_producer, log_reader, records_until
from emostream.swarms.log import SwarmLog
from emostream.swarms.rules import RECOVERY_COMMAND, progress_of, read_record, stream_of
from emostream_lab.chaos.junk import JUNK, ODD
from emostream_lab.machine import class_archives
from emostream_lab.machine.jars import JARS
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, own_broker
from tests.integration.asking import metric, unreadiness
from tests.integration.viewers import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

# Spark starts slowly on a busy machine.
TIMEOUT_SECONDS = 240
CLUSTERS = ClustersSettings(names=("cluster1",))


@pytest.fixture(scope="module")
def broker(server_dir: Path) -> Iterator[Server]:
    """A broker for this file, because the topics' names are fixed and each test recreates them."""
    with own_broker(server_dir / "aggregator") as broker:
        yield broker


@dataclass
class Log:
    """The topics, recreated for a test; what was sent to `reactions`, and the result."""

    settings: KafkaSettings
    producer: KafkaProducer
    sent: Counter[str] = field(default_factory=Counter)

    def send(self, *reactions: str) -> None:
        """One record of these emoji."""
        self.sent.update(reactions)
        self.send_raw(model.encode([Reaction("u1", emoji, 1_732_370_000_123) for emoji in reactions]))

    def send_raw(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """One record of any content; a record without one needs a key."""
        self.producer.send(REACTIONS_TOPIC, value, key=None if value is not None else b"key", headers=list(headers))

    def swarms(self) -> list[Swarm]:
        return [read_record(record.value) for record in self.records(SWARMS_TOPIC)]

    def records(self, topic: str) -> list[Any]:
        """The committed records of a topic with one partition."""
        partition = TopicPartition(topic, 0)
        with log_reader(self.settings.bootstrap_servers, self.settings.max_record_bytes) as reader:
            reader.assign([partition])
            start, end = (ask([partition])[partition] for ask in (reader.beginning_offsets, reader.end_offsets))
            return list(records_until(reader, partition, start, end, TIMEOUT_SECONDS))

    def is_counted(self) -> bool:
        """Whether the last swarm covers all of `reactions`."""
        self.producer.flush(60)
        offsets = progress_of(self.swarms()[-1]).offsets
        return all(offsets.get(str(partition), 0) == end for partition, end in self.ends().items())

    def ends(self, topic: str = REACTIONS_TOPIC) -> dict[int, int]:
        with log_reader(self.settings.bootstrap_servers, self.settings.max_record_bytes) as reader:
            partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
            return {partition.partition: end for partition, end in reader.end_offsets(partitions).items()}

    def check(self) -> list[Swarm]:
        """Wait until all is counted; then each reaction is in exactly one swarm of one unbroken stream."""
        wait_until(self.is_counted, TIMEOUT_SECONDS, lambda: (self.swarms()[-1], self.ends()))
        swarms = self.swarms()
        counted: Counter[str] = Counter()
        for swarm in swarms:
            counted.update(swarm.counts)
        assert counted == self.sent == swarms[-1].totals
        for earlier, later in pairwise(swarms):
            assert later.sequence == earlier.sequence + 1
            assert later.window.start >= earlier.window.end
            assert all(end >= progress_of(earlier).offsets.get(p, 0) for p, end in progress_of(later).offsets.items())
        return swarms


@pytest.fixture
def log(broker: Server) -> Iterator[Log]:
    settings = KafkaSettings(bootstrap_servers=(broker.address,))
    _delete(settings, REACTIONS_TOPIC, DEAD_LETTER_TOPIC, SWARMS_TOPIC)
    topics.apply(settings, CLUSTERS)
    with durable_producer(settings) as producer:
        yield Log(settings, producer)


def _delete(settings: KafkaSettings, *names: str) -> None:
    """Delete topics. Their names may stay in use for a moment after they are gone from the list."""

    def is_gone(admin: KafkaAdminClient) -> bool:
        try:
            admin.create_topics([NewTopic(name, 1, 1) for name in names], validate_only=True)
        except TopicAlreadyExistsError:
            return False
        return True

    with admin_client(settings.bootstrap_servers) as admin:
        if present := set(names) & set(admin.list_topics()):
            admin.delete_topics(sorted(present))
        wait_until(lambda: is_gone(admin))


@dataclass
class Aggregator:
    """An aggregator that was started."""

    process: Process
    port: int
    work_dir: Path

    def leads(self) -> bool:
        return self.process.is_ready() and metric(self.port, "emostream_aggregator_leader") == 1

    def wait_until_it_leads(self) -> None:
        wait_until(lambda: self.leads() or not self.process.is_running(), TIMEOUT_SECONDS, self.process.log_tail)
        assert self.process.is_running(), self.process.log_tail()

    def family(self) -> list[psutil.Process]:
        """The processes that it started, its JVM first."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """SIGKILL. The processes that it started must end by themselves."""
        family = self.family()
        self.process.send_signal(signal.SIGKILL)
        assert family
        wait_until(lambda: not any(_is_alive(each) for each in family), 60, lambda: family)

    def end(self, seconds: float = 60) -> int | None:
        """Its exit status, once it has ended."""
        wait_until(lambda: not self.process.is_running(), seconds, self.process.log_tail)
        return self.process.exit_status


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


Start = Callable[..., Aggregator]


@pytest.fixture
def start(broker: Server, zookeeper: Server, tmp_path: Path) -> Iterator[Start]:
    """Starts aggregators, by default on `local[2]`; keywords are settings of the tier. They are stopped at the end."""
    started: list[Aggregator] = []

    def start(**settings: object) -> Aggregator:
        port = servers.free_port()
        name = f"aggregator-{len(started)}"
        values = {
            "spark_master": "local[2]",
            "trigger_ms": 250,
            "admin_port": port,
            "work_dir": tmp_path / name,
            **settings,
        }
        process = Process(
            name,
            [sys.executable, "-m", "emostream", "aggregator"],
            environment={
                "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.address,
                "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
                "EMOSTREAM_ZOOKEEPER_SESSION_TIMEOUT_MS": "4000",
                "EMOSTREAM_AGGREGATOR_CONNECTOR_JARS_DIR": str(JARS / "spark"),
                "EMOSTREAM_AGGREGATOR_CLASS_ARCHIVE": str(class_archives.path("spark")),
                # Starts faster, and is fast enough for these tests.
                "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
                **{f"EMOSTREAM_AGGREGATOR_{key.upper()}": str(value) for key, value in values.items()},
            },
            log_file=tmp_path / f"{name}.log",
            probe=lambda: not unreadiness(port),
        )
        process.start()
        started.append(Aggregator(process, port, Path(str(values["work_dir"]))))
        return started[-1]

    yield start
    for aggregator in started:
        aggregator.process.stop(60)


def test_reactions_are_counted_and_what_is_none_is_set_aside_whole(log: Log, start: Start) -> None:
    aggregator = start()
    log.send(*"🔥🔥👏")
    for value in JUNK:
        log.send_raw(value)
        log.send("🔥", "❤️", "👨‍👩‍👧‍👦", "🇫🇷", "1️⃣", "ℹ️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿")
    log.send_raw(None)
    for value, counts in ODD.items():
        log.send_raw(value)
        log.sent.update(counts)
    last = log.check()[-1]
    letters = log.records(DEAD_LETTER_TOPIC)
    told = {letter.value: dict(letter.headers)["reason"].decode() for letter in letters}
    assert set(told) == {value[:4_096] for value in JUNK}
    for value, reason in JUNK.items():
        assert told[value[:4_096]].startswith(reason), value[:100]
    assert len(letters) == len(JUNK) + 1 == progress_of(last).dead_letters
    places = {(dict(letter.headers)["partition"], dict(letter.headers)["offset"]) for letter in letters}
    assert len(places) == len(letters)
    wait_until(lambda: metric(aggregator.port, "emostream_aggregator_dead_letters_total") == len(letters))
    assert metric(aggregator.port, "emostream_aggregator_reactions_total") == log.sent.total()
    assert metric(aggregator.port, "emostream_aggregator_sequence") == last.sequence
    # A batch of empty lists gives an empty swarm; an empty batch gives none.
    log.send_raw(b"[]")
    assert log.check()[-1].reactions == 0
    wait_until(lambda: metric(aggregator.port, "emostream_aggregator_lag_records") == 0)
    aggregator.process.terminate()
    assert aggregator.end() == 0
    assert not log.check()[-1].reactions


def test_records_of_the_warm_up_are_not_counted(log: Log, start: Start) -> None:
    start().wait_until_it_leads()
    assert len(log.swarms()) == 1
    assert not sum(log.ends().values())
    made_up = log.ends(WARMUP_TOPIC)
    assert len(made_up) == len(log.ends())
    assert all(made_up.values())


def test_counts_beside_a_list_are_taken_for_it_and_nonsense_beside_it_is_not(log: Log, start: Start) -> None:
    aggregator = start()
    one_reaction = encode([Reaction("u", "🔥", 1)])
    # The counts differ from the list on purpose.
    log.send_raw(one_reaction, [(COUNTS_HEADER, '{"👏": 3, "🎉": 1}'.encode())])
    log.sent.update({"👏": 3, "🎉": 1})
    log.send("🔥")
    log.check()
    values = ("many", "null", "0", "-1", "1.5", "9223372036854775807", "1e999")
    for nonsense in ("", "{", "[1]", "7", '{"word": 1}', *(f'{{"🔥": {value}, "👏": {value}}}' for value in values)):
        log.send_raw(one_reaction, [(COUNTS_HEADER, nonsense.encode())])
        log.sent["🔥"] += 1
        log.check()
    log.send_raw(one_reaction, [("another", b"{}"), (COUNTS_HEADER, b"{}")])
    log.sent["🔥"] += 1
    # The record is empty, so nothing of it is counted.
    log.send_raw(b"[]", [(COUNTS_HEADER, b"{}")])
    # If one record is invalid, the others of its batch are still counted.
    log.send_raw(one_reaction, [(COUNTS_HEADER, '{"🔥": 1}'.encode())])
    log.sent["🔥"] += 1
    log.send_raw(b"junk", [(COUNTS_HEADER, '{"🔥": 0}'.encode())])
    assert progress_of(log.check()[-1]).dead_letters == 1
    aggregator.process.terminate()
    assert aggregator.end() == 0


def test_an_outage_is_caught_up_with_in_steps_and_new_partitions_are_found(log: Log, start: Start) -> None:
    for _ in range(1_000):
        log.send("🔥", "👏")
    aggregator = start(max_records_per_trigger=300)
    swarms = log.check()
    assert len(swarms) >= 1 + 1_000 / 300
    assert max(swarm.reactions for swarm in swarms) <= 2 * 300
    topics.apply(log.settings.model_copy(update={"reactions_partitions": 6}), CLUSTERS)
    log.sent["😂"] += 2
    # A producer refreshes its partitions only every few minutes.
    with durable_producer(log.settings) as producer:
        for partition in (4, 5):
            producer.send(REACTIONS_TOPIC, model.encode([Reaction("u1", "😂", 1)]), partition=partition).get(60)
    log.check()
    # A new stream fences the aggregator, so it exits and does not add to the old stream.
    topics.apply(log.settings, CLUSTERS, new_stream=True)
    log.send("🔥")
    assert aggregator.end() == EXIT_OUTCOME_UNKNOWN
    assert log.swarms()[-1].sequence == 0
    assert progress_of(log.swarms()[-1]).offsets == progress_of(log.swarms()[-2]).offsets


def test_it_is_killed_at_any_moment_and_every_reaction_is_counted_once(log: Log, start: Start) -> None:
    for life in range(3):
        aggregator = start()
        for _ in range(200):
            log.send(*random.choices("🔥👏😂", k=10))
        aggregator.wait_until_it_leads()
        end = time.monotonic() + random.uniform(0, 4)
        while time.monotonic() < end:
            log.send(*random.choices("🔥👏😂", k=10))
            time.sleep(0.01)
        aggregator.kill()
        if life == 1:
            shutil.rmtree(aggregator.work_dir)
    start()
    log.check()


def test_a_leader_that_was_frozen_cannot_write_once_another_leads(log: Log, start: Start) -> None:
    frozen = start()
    log.send("🔥")
    log.check()
    successor = start()
    successor.process.wait_ready(60)
    assert metric(successor.port, "emostream_aggregator_leader") == 0
    frozen.process.send_signal(signal.SIGSTOP)
    log.send("👏", "👏")
    successor.wait_until_it_leads()
    log.check()
    frozen.process.send_signal(signal.SIGCONT)
    log.send("😂")
    assert frozen.end() in {1, EXIT_OUTCOME_UNKNOWN}
    log.check()
    assert successor.leads()


def test_a_writer_of_swarms_cannot_write_once_another_has_begun(log: Log) -> None:
    earlier = SwarmLog(log.settings, transaction_timeout_ms=10_000)
    [first] = log.swarms()
    second = msgspec.structs.replace(first, id=model.message_id(stream_of(first), 1), sequence=1)
    with SwarmLog(log.settings, transaction_timeout_ms=10_000) as later:
        with pytest.raises(OutcomeUnknownError):
            earlier.append(second)
        assert log.swarms() == [first]
        later.append(second)
    assert log.swarms() == [first, second]
    earlier.close()


def test_it_refuses_to_start_where_going_on_would_lose_reactions(log: Log, start: Start) -> None:
    for _ in range(10):
        log.send("🔥")
    log.producer.flush(60)
    with admin_client(log.settings.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(REACTIONS_TOPIC, p): end for p, end in log.ends().items()})
        _refuses(start(), "retention deleted")
        _delete(log.settings, REACTIONS_TOPIC)
        topics.apply(log.settings, CLUSTERS)
        _refuses(start(), "recreated")
        admin.delete_records({TopicPartition(SWARMS_TOPIC, 0): 2})
        _refuses(start(), "swarms is empty")
        topics.apply(log.settings, CLUSTERS, new_stream=True)
    log.sent.clear()
    log.send("🔥")
    start()
    wait_until(log.is_counted, TIMEOUT_SECONDS)
    assert log.swarms()[-1].counts == {"🔥": 1}


def _refuses(aggregator: Aggregator, reason: str) -> None:
    assert aggregator.end() == 1
    assert reason in aggregator.process.log_text()
    assert RECOVERY_COMMAND in aggregator.process.log_text()


def test_a_warm_standby_takes_over_on_a_standalone_master_and_nothing_is_left_behind(
    log: Log, start: Start, tmp_path: Path
) -> None:
    port = servers.free_port()
    master = servers.spark_master(tmp_path / "spark", port)
    worker = servers.spark_worker(tmp_path / "spark", port, cores=2, memory_mib=2_048)
    try:
        for process in (master, worker):
            process.start()
            process.wait_ready(120)
        first = start(spark_master=f"spark://{servers.HOST}:{port}")
        log.send(*"🔥🔥👏")
        log.check()
        executors = psutil.Process(worker.pid).children(recursive=True)
        assert executors
        standby = start(spark_master=f"spark://{servers.HOST}:{port}")
        # Each aggregator has a core, and so its own executor.
        wait_until(lambda: _has_warmed_up(standby), TIMEOUT_SECONDS, standby.process.log_tail)
        assert not standby.leads()
        family = standby.family()
        first.kill()
        log.send(*"😂🔥")
        log.check()
        assert standby.leads()
        assert standby.family() == family
        wait_until(lambda: not any(_is_alive(executor) for executor in executors), 60, lambda: executors)
    finally:
        worker.stop()
        master.stop()


def _has_warmed_up(aggregator: Aggregator) -> bool:
    return "aggregator has warmed up" in aggregator.process.log_text()
