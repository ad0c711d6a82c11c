"""Starts aggregators on a broker of their own, and tells what they made of the records that a test wrote."""

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from emostream import model
from emostream.config import ClustersSettings, KafkaSettings
from emostream.model import (
    DEAD_LETTER_TOPIC,
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    Reaction,
    Swarm,
)
from emostream.operate import topics
from emostream.runtime.kafka import admin_client, durable_producer, log_reader, records_until
from emostream.swarms.rules import progress_of, read_record
from emostream_lab.machine import class_archives
from emostream_lab.machine.jars import JARS
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, own_broker
from tests.integration.asking import metric, unreadiness
from tests.integration.viewers import wait_until

# Spark starts slowly on a busy machine.
TIMEOUT_SECONDS = 240
# Each look at the topics connects to the broker anew. More of them would take the processor from Spark.
LOOK_SECONDS = 0.25
CLUSTERS = ClustersSettings(names=("cluster1",))


@pytest.fixture(scope="session")
def broker(server_dir: Path) -> Iterator[Server]:
    """A broker for the files of this folder, because the topics' names are fixed and each test recreates them."""
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
        wait_until(self.is_counted, TIMEOUT_SECONDS, lambda: (self.swarms()[-1], self.ends()), LOOK_SECONDS)
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
    with new_log(broker) as log:
        yield log


@contextmanager
def new_log(broker: Server) -> Iterator[Log]:
    """Empty topics."""
    settings = KafkaSettings(bootstrap_servers=(broker.address,))
    delete(settings, REACTIONS_TOPIC, DEAD_LETTER_TOPIC, SWARMS_TOPIC)
    topics.apply(settings, CLUSTERS)
    with durable_producer(settings) as producer:
        yield Log(settings, producer)


def delete(settings: KafkaSettings, *names: str) -> None:
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
        process = self.process
        wait_until(lambda: self.leads() or not process.is_running(), TIMEOUT_SECONDS, process.log_tail, LOOK_SECONDS)
        assert self.process.is_running(), self.process.log_tail()

    def family(self) -> list[psutil.Process]:
        """The processes that it started, its JVM first."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """SIGKILL. The processes that it started must end by themselves."""
        family = self.family()
        self.process.send_signal(signal.SIGKILL)
        assert family
        wait_until(lambda: not any(is_alive(each) for each in family), 60, lambda: family)

    def end(self, seconds: float = 60) -> int | None:
        """Its exit status, once it has ended."""
        wait_until(lambda: not self.process.is_running(), seconds, self.process.log_tail)
        return self.process.exit_status


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


Start = Callable[..., Aggregator]


@pytest.fixture
def start(broker: Server, zookeeper: Server, tmp_path: Path) -> Iterator[Start]:
    """Starts aggregators, by default on `local[2]` and the broker; keywords are settings of the tier.

    They are stopped at the end.
    """
    with starting(broker, zookeeper, tmp_path) as start:
        yield start


@contextmanager
def starting(broker: Server, zookeeper: Server, directory: Path) -> Iterator[Start]:
    """Give the function that the fixture `start` is. The folder holds what the aggregators write."""
    started: list[Aggregator] = []

    def start(kafka: str = broker.address, **settings: object) -> Aggregator:
        port = servers.free_port()
        name = f"aggregator-{len(started)}"
        values = {
            "spark_master": "local[2]",
            "executor_compiler": "quick",
            "trigger_ms": 250,
            "admin_port": port,
            "work_dir": directory / name,
            **settings,
        }
        process = Process(
            name,
            [sys.executable, "-m", "emostream", "aggregator"],
            environment={
                "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka,
                "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
                "EMOSTREAM_ZOOKEEPER_SESSION_TIMEOUT_MS": "4000",
                "EMOSTREAM_AGGREGATOR_CONNECTOR_JARS_DIR": str(JARS / "spark"),
                "EMOSTREAM_AGGREGATOR_CLASS_ARCHIVE": str(class_archives.path("spark")),
                **{f"EMOSTREAM_AGGREGATOR_{key.upper()}": str(value) for key, value in values.items()},
            },
            log_file=directory / f"{name}.log",
            probe=lambda: not unreadiness(port),
        )
        process.start()
        started.append(Aggregator(process, port, Path(str(values["work_dir"]))))
        return started[-1]

    try:
        yield start
    finally:
        for aggregator in started:
            aggregator.process.stop(60)
