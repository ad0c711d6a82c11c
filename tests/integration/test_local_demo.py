"""The demo's own code runs every tier and accounts for each reaction, whatever is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from emostream.monitoring import grafana
from emostream_lab import demo
from emostream_lab.account import figures
from emostream_lab.demo import DemoOptions
from emostream_lab.processes.topology import Layout, Ports
from tests.integration.asking import get

pytestmark = pytest.mark.spark


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two clusters with two subscribers in all, on free ports, and Spark inside the driver."""
    ports = Ports.free(clusters=2, subscribers_per_cluster=1)
    return Layout(tmp_path / "demo", ports, trigger_ms=500, spark_master="local[2]")


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    # If the init process does not reap orphans, an ended one stays as a zombie.
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def rows(layout: Layout) -> dict[str, dict[str, object]]:
    """The state file's content by process, empty before there is one."""
    try:
        return {row["name"]: row for row in json.loads((layout.directory / "topology.json").read_text())}
    except FileNotFoundError:
        return {}


class Killer(threading.Thread):
    """Kills the victims one after the other while the crowd reacts, and then ends the demo."""

    def __init__(self, layout: Layout, victims: tuple[str, ...]) -> None:
        super().__init__()
        self._layout = layout
        self._victims = victims
        self.killed: list[str] = []

    def run(self) -> None:
        try:
            self._kill_all()
        finally:
            if rows(self._layout):
                os.kill(os.getpid(), signal.SIGINT)

    def _kill_all(self) -> None:
        until(lambda: (now := figures.read(self._layout.directory / "crowd.json")) and now.counted > 100, 300)
        for victim in self._victims:
            pid = rows(self._layout)[victim]["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid, victim=victim: self._is_back(victim, pid), 400)
            self.killed.append(victim)

    def _is_back(self, victim: str, old_pid: int) -> bool:
        row = rows(self._layout)[victim]
        return row["state"] == "ready" and row["pid"] != old_pid


@pytest.mark.faults
@pytest.mark.timeout(1_200)
def test_each_accepted_reaction_is_counted_once_while_every_tier_is_killed(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    victims = ("ingest", "publisher@cluster1", f"subscriber@{layout.ports.subscribers[0][0]}", "registry", "aggregator")
    killer = Killer(layout, victims)
    killer.start()
    status = demo.run(DemoOptions(reactions_per_second=100, viewers=20, events=3), layout)
    killer.join()
    said = capsys.readouterr().out
    assert killer.killed == list(victims)
    assert status == 0, said
    account = figures.read(layout.directory / "crowd.json")
    assert account is not None
    assert account.viewers == 20
    assert account.accepted > 1_000
    assert account.counted == account.accepted + account.others or account.unknown
    assert "counted exactly once" in said
    assert [(event, each.viewers, each.is_exact) for event, each in account.events.items()] == [
        ("main", 7, True),
        ("match-2", 7, True),
        ("match-3", 6, True),
    ]
    assert min(each.accepted for each in account.events.values()) > 300
    assert sum(each.counted for each in account.events.values()) == account.counted
    assert rows(layout) == {}


def start_demo(layout: Layout, options: DemoOptions, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The demo as a command of its own, which a test may signal; its output is read as Latin-1."""
    code = (
        "from pathlib import PosixPath\n"
        "from emostream.runtime import output\n"
        "from emostream_lab import demo\n"
        "from emostream_lab.demo import DemoOptions\n"
        "from emostream_lab.processes.topology import Layout, MetricsPorts, Ports\n"
        "from types import MappingProxyType as mappingproxy\n"
        "output.tolerate_encoding()\n"
        f"raise SystemExit(demo.run({options!r}, {layout!r}))\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, encoding="latin-1"
    )


def end(command: subprocess.Popen[str]) -> None:
    command.kill()
    command.wait()
    assert command.stdout is not None
    command.stdout.close()


GRAPHED = {
    name
    for section in grafana.sections()
    for panel in section.panels
    for query in panel.queries
    for name in grafana.metrics_in(query.expr)
}


def names_in(prometheus_port: int) -> set[str]:
    """The metrics that Prometheus has."""
    return set(json.loads(get(prometheus_port, "/api/v1/label/__name__/values").body)["data"])


def firing_in(prometheus_port: int) -> list[str]:
    """The alerts that fire."""
    alerts = json.loads(get(prometheus_port, "/api/v1/alerts").body)["data"]["alerts"]
    return [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"]


# Each of these has ended the demo before.
ODDITIES = {
    "SPARK_HOME": "/nonsense/spark",
    "SPARK_CONF_DIR": "/nonsense/conf",
    "JAVA_HOME": "/nonsense/java",
    "http_proxy": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "LC_ALL": "C",
    "PYTHONIOENCODING": "latin-1",
    "TERM": "dumb",
}


@pytest.mark.timeout(600)
def test_the_demo_runs_with_tls_in_an_odd_place_and_ctrl_c_accounts_for_it(tmp_path: Path) -> None:
    ports = Ports.free(clusters=1, subscribers_per_cluster=1)
    layout = Layout(tmp_path / "zoë's emo stream" / "demo", ports, trigger_ms=500, has_tls=True, has_metrics=True)
    # Those of our own processes are checked where they are defined.
    graphed_servers = {name for name in GRAPHED if name.startswith(("kafka_", "zookeeper_", "spark_"))}
    assert len(graphed_servers) > 10
    command = start_demo(layout, DemoOptions(reactions_per_second=100, viewers=10), ODDITIES)
    try:
        assert command.stdout is not None
        said = []
        for line in command.stdout:
            said.append(line)
            if " accepted " in line and " 0 counted" not in line:
                until(lambda: graphed_servers <= names_in(ports.prometheus), 60)
                assert firing_in(ports.prometheus) == []
                command.send_signal(signal.SIGINT)
                break
        said.extend(command.stdout)
        assert command.wait(60) == 0, "".join(said)
    finally:
        end(command)
    assert "Every accepted reaction was counted exactly once" in "".join(said)
    assert "\033" not in "".join(said)
    account = figures.read(layout.directory / "crowd.json")
    assert account is not None
    assert account.is_final
    assert account.accepted > 0


SERVERS = ("zookeeper", "kafka", "spark")
# One process of Java's and one of Python's.
FEW = ("zookeeper", "registry")


@pytest.fixture
def running_demo(layout: Layout, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Only these tiers; `spark` is a master and a worker."""
    layout = replace(layout, spark_master="")
    command = start_demo(layout, DemoOptions(only=request.param), {})
    until(lambda: rows(layout) and all(row["state"] == "ready" for row in rows(layout).values()), 90)
    yield command
    end(command)


@pytest.mark.parametrize(
    ("running_demo", "how"),
    [(FEW, signal.SIGINT), (FEW, signal.SIGTERM), (SERVERS, signal.SIGKILL)],
    indirect=["running_demo"],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_no_process_is_left_behind_however_the_command_ends(
    running_demo: subprocess.Popen[str], how: signal.Signals, layout: Layout
) -> None:
    family = psutil.Process(running_demo.pid).children(recursive=True)
    assert {process.pid for process in family} >= {row["pid"] for row in rows(layout).values()} != set()
    running_demo.send_signal(how)
    until(lambda: not any(is_alive(process) for process in family), 30)
    assert running_demo.wait(30) == (0 if how is not signal.SIGKILL else -signal.SIGKILL)


@pytest.mark.parametrize("running_demo", [FEW], indirect=True, ids=["few"])
def test_a_reader_that_goes_away_stops_it_in_order(running_demo: subprocess.Popen[str], layout: Layout) -> None:
    assert running_demo.stdout is not None
    running_demo.stdout.close()
    family = psutil.Process(running_demo.pid).children(recursive=True)
    # The demo notices when it next prints something.
    os.kill(int(str(rows(layout)["zookeeper"]["pid"])), signal.SIGKILL)
    assert running_demo.wait(60) == 0
    assert not any(is_alive(process) for process in family)
