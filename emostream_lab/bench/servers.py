"""Runs the servers of a benchmark: our own tiers with the Kafka that they need, and other programs."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emostream import config
from emostream.config import KafkaSettings
from emostream_lab.processes import topology
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part, Ports

Tell = Callable[[str], None]


@dataclass(frozen=True)
class RunningTiers:
    """Running tiers: their layout and their processes."""

    layout: Layout
    parts: Sequence[Part]

    @property
    def kafka(self) -> KafkaSettings:
        return config.load(KafkaSettings, bootstrap_servers=(f"{HOST}:{self.layout.ports.kafka}",))

    @property
    def subscriber_port(self) -> int:
        return self.layout.ports.subscribers[0][0]

    def pid(self, tier: str) -> int:
        """Return the process id of a tier that has one process."""
        [part] = [part for part in self.parts if part.tier == tier]
        return part.process.pid


@contextmanager
def running_tiers(
    directory: Path,
    tiers: Sequence[str],
    tell: Tell,
    settings: Mapping[str, str] | None = None,
    trigger_ms: int = 2_000,
) -> Iterator[RunningTiers]:
    """Run these tiers, and wait until they are ready.

    There is one cluster with one subscriber. Spark runs two threads in the aggregator's process, at its full speed.
    """
    ports = Ports.free(clusters=1, subscribers_per_cluster=1)
    settings = {"EMOSTREAM_AGGREGATOR_EXECUTOR_COMPILER": "full", **(settings or {})}
    layout = Layout(directory, ports, trigger_ms=trigger_ms, spark_master="local[2]", settings=settings)
    directory.mkdir(parents=True)
    with _running_parts(layout, tiers, tell) as running_:
        yield running_


@contextmanager
def running_more(beside: RunningTiers, tier: str, tell: Tell) -> Iterator[RunningTiers]:
    """Run one more tier of a topology that is already running."""
    with _running_parts(beside.layout, (tier,), tell) as running_:
        yield running_


@contextmanager
def _running_parts(layout: Layout, tiers: Sequence[str], tell: Tell) -> Iterator[RunningTiers]:
    parts = topology.select(topology.parts(layout), tuple(tiers))
    supervisor = Supervisor(parts, layout.directory / f"{tiers[0]}.json", tell)
    try:
        supervisor.run_until(supervisor.all_ready)
        yield RunningTiers(layout, parts)
    finally:
        supervisor.stop()


@contextmanager
def running(name: str, command: Sequence[str], port: int, directory: Path, **environment: str) -> Iterator[Process]:
    """Run another server, and wait until it listens."""
    process = Process(
        name, command, log_file=directory / f"{name}.log", environment=environment, probe=lambda: _accepts(port)
    )
    process.start()
    try:
        process.wait_ready(30)
        yield process
    finally:
        process.stop()


def _accepts(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1):
        return True
