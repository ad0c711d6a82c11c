"""Tests that reactions and swarms flow on while one of three brokers or of three ZooKeepers has no power.

The servers run as the roles configure them, each on a machine of its own.
"""

import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from emostream_lab import demo
from emostream_lab.account import figures
from emostream_lab.demo import DemoOptions
from emostream_lab.machine.jars import REPOSITORY
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import Place
from emostream_lab.processes.topology import Layout, Ports
from emostream_lab.roles import defaults, rendered
from tests.conftest import ALL_FAULTS, FAULTS, is_back
from tests.faults.machines import Machine, machines
from tests.integration.viewers import wait_until
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.timeout(1_200)]

BROKERS = ("kafka1", "kafka2", "kafka3")
ZOOKEEPERS = ("zookeeper1", "zookeeper2", "zookeeper3")
KAFKA_PORT, ZOOKEEPER_PORT = 9092, 2181
# `make test-faults FAULTS=10`, which is for fewer faults, cuts the power of one of each kind.
VICTIMS = [*BROKERS, "leader", "follower"] if FAULTS >= ALL_FAULTS else ["kafka1", "leader"]
CROWD = DemoOptions(reactions_per_second=100, viewers=10)
WATCHED = ("accepted", "delivered")
# Both flow again when neither has been interrupted for so long: until then every time-out on the way is over.
QUIET_SECONDS, STEADY_SECONDS = 10.0, 20.0
# No slow machine takes so long. The seconds that it took are printed, and docs/reliability.md has some.
PATIENCE_SECONDS = 120


@dataclass
class Server:
    """A server on a machine of its own."""

    machine: Machine
    process: Process

    def cut_power(self) -> None:
        """Nothing that it would say at its end gets out."""
        self.machine.unplug()
        self.process.stop(0)

    def switch_on(self) -> None:
        self.machine.plug_in()
        self.process.start()


@dataclass
class Ensemble:
    """Three ZooKeepers and three brokers by name, and all tiers beside them on this machine."""

    servers: Mapping[str, Server]
    pipeline: Pipeline


def zookeepers(directory: Path, hosts: Sequence[Machine]) -> Iterator[Process]:
    for number, (name, machine) in enumerate(zip(ZOOKEEPERS, hosts, strict=True), start=1):
        place = Place(directory / name, ZOOKEEPER_PORT, machine.address, machine.command)
        data = place.directory / "data"
        data.mkdir(parents=True)
        (data / "myid").write_text(str(number))
        properties = rendered(
            "zookeeper/templates/zoo.cfg.j2",
            **{
                **defaults("zookeeper"),
                "zookeeper_address": machine.address,
                "zookeeper_client_port": ZOOKEEPER_PORT,
                "zookeeper_servers": {number: host.address for number, host in enumerate(hosts, start=1)},
            },
        )
        # The last line wins.
        yield servers.zookeeper_of(f"{properties}dataDir={data}\n", place)


def brokers(directory: Path, hosts: Sequence[Machine], zookeeper_connect: Sequence[str]) -> Iterator[Process]:
    for number, (name, machine) in enumerate(zip(BROKERS, hosts, strict=True), start=1):
        place = Place(directory / name, KAFKA_PORT, machine.address, machine.command)
        properties = rendered(
            "kafka/templates/server.properties.j2",
            **{
                **defaults("kafka"),
                "kafka_address": machine.address,
                "kafka_port": KAFKA_PORT,
                "kafka_broker_id": number,
                "kafka_zookeeper_connect": zookeeper_connect,
                "kafka_replication_factor": 3,
                "kafka_min_insync_replicas": 2,
                "__kafka_protocol": "PLAINTEXT",
            },
        )
        yield servers.kafka_of(f"{properties}log.dirs={place.directory / 'data'}\n", place)


@contextmanager
def probing() -> Iterator[None]:
    """Let the kernel of this machine probe connections as that of a host with Java does, for Spark."""
    group_vars = yaml.safe_load((REPOSITORY / "playbooks" / "group_vars" / "all" / "kernel.yml").read_text())
    files = {Path("/proc/sys", *name.split(".")): value for name, value in group_vars["kernel_of_java"].items()}
    before = {file: file.read_text() for file in files}
    try:
        for file, value in files.items():
            file.write_text(str(value))
        yield
    finally:
        for file, value in before.items():
            file.write_text(value)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    directory = tmp_path_factory.mktemp("power")
    with probing(), machines(len(ZOOKEEPERS + BROKERS)) as hosts, ExitStack() as cleanup:
        zookeeper_hosts, broker_hosts = hosts[: len(ZOOKEEPERS)], hosts[len(ZOOKEEPERS) :]
        connect = [f"{host.address}:{ZOOKEEPER_PORT}" for host in zookeeper_hosts]
        bootstrap = [f"{host.address}:{KAFKA_PORT}" for host in broker_hosts]
        processes = [*zookeepers(directory, zookeeper_hosts), *brokers(directory, broker_hosts, connect)]
        for process in processes:
            cleanup.callback(process.stop, 0)
        # Each kind together: one ZooKeeper is not ready alone.
        for kind in (ZOOKEEPERS, BROKERS):
            starting = [process for process in processes if process.name in kind]
            for process in starting:
                process.start()
            for process in starting:
                process.wait_ready(120)
        settings = {
            "EMOSTREAM_ZOOKEEPER_HOSTS": ",".join(connect),
            "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": ",".join(bootstrap),
            "EMOSTREAM_KAFKA_REPLICATION_FACTOR": "3",
            "EMOSTREAM_KAFKA_MIN_INSYNC_REPLICAS": "2",
        }
        ports = Ports.free(clusters=1, subscribers_per_cluster=1)
        # Without executors, a task that fails is not tried again by default.
        layout = Layout(directory / "state", ports, settings=settings, spark_master="local[2,8]")
        pipeline = cleanup.enter_context(Pipeline(layout, leave_out=("zookeeper", "kafka")))
        named = {process.name: Server(machine, process) for machine, process in zip(hosts, processes, strict=True)}
        yield Ensemble(named, pipeline)


class Flow:
    """When reactions were last accepted and swarms last delivered, as the crowd tells once a second."""

    def __init__(self, file: Path) -> None:
        now = time.monotonic()
        self._file = file
        self._counts = dict.fromkeys(WATCHED, -1)
        self._moved_at = dict.fromkeys(WATCHED, now)
        self._steady_since = now
        self.longest_seconds = dict.fromkeys(WATCHED, 0.0)

    def is_steady(self) -> bool:
        """Look once. Return whether neither has been interrupted for a while."""
        now, newest = time.monotonic(), figures.read(self._file)
        for what in WATCHED:
            seconds = now - self._moved_at[what]
            if (count := getattr(newest, what)) > self._counts[what]:
                self._counts[what], self._moved_at[what] = count, now
                self.longest_seconds[what] = max(self.longest_seconds[what], seconds)
            elif seconds > QUIET_SECONDS:
                self._steady_since = now
        return now - self._steady_since > STEADY_SECONDS


def one_that(servers: Mapping[str, Server], what: str) -> Server:
    """The server of this name, or the first ZooKeeper that leads or follows."""
    if what in servers:
        return servers[what]
    return next(servers[name] for name in ZOOKEEPERS if mode(servers[name].machine.address) == what)


def mode(address: str) -> str:
    """Whether this ZooKeeper is the `leader` or a `follower`."""
    with socket.create_connection((address, ZOOKEEPER_PORT), timeout=5) as connection:
        connection.sendall(b"srvr")
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return re.search(r"^Mode: (\w+)", answer.decode(), re.MULTILINE)[1]


@pytest.mark.parametrize("victim", VICTIMS)
def test_reactions_and_swarms_flow_on_without_one_server(
    ensemble: Ensemble, tmp_path: Path, capsys: pytest.CaptureFixture[str], victim: str
) -> None:
    """`leader` and `follower` are ZooKeepers."""
    figures_file = tmp_path / "crowd.json"
    crowd = demo.crowd(CROWD, ensemble.pipeline.layout, figures_file, [])
    server = one_that(ensemble.servers, victim)
    crowd.start()
    try:
        wait_until(lambda: (found := figures.read(figures_file)) and found.swarms >= 5, 120, crowd.log_tail)
        flow = Flow(figures_file)
        server.cut_power()
        try:
            wait_until(flow.is_steady, PATIENCE_SECONDS, lambda: figures.read(figures_file), every_seconds=0.1)
        finally:
            server.switch_on()
        wait_until(lambda: is_back(server.process), 180, server.process.log_tail)
        crowd.send_signal(signal.SIGINT)
        wait_until(lambda: not crowd.is_running(), 240, crowd.log_tail)
    finally:
        crowd.stop()
    account = figures.read(figures_file)
    assert account is not None
    assert account.is_final
    with capsys.disabled():
        seconds = flow.longest_seconds
        print(
            f"\n{victim}, {server.process.name}: no 202 for {seconds['accepted']:.1f} s, no swarm for "
            f"{seconds['delivered']:.1f} s; {account.unknown} unknown, {account.refused} refused"
        )
    assert account.problems == []
