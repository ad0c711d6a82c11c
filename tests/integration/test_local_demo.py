"""The whole: the demo's own code runs every tier, and accounts for each reaction, whatever is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from emostream_lab import demo
from emostream_lab.account import figures
from emostream_lab.demo import Wishes
from emostream_lab.processes.topology import Layout, Ports

pytestmark = pytest.mark.spark


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two clusters with two subscribers in all, beside whatever else runs here; Spark inside the driver."""
    ports = Ports.free(clusters=2, subscribers_per_cluster=1)
    return Layout(tmp_path / "demo", ports, trigger_ms=500, spark_master="local[2]")


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    # Of an orphan, an init that does not reap leaves a zombie.
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
    """Kills each victim once the crowd is at work, and waits until it is back before the next one."""

    def __init__(self, layout: Layout, victims: tuple[str, ...]) -> None:
        super().__init__()
        self._layout = layout
        self._victims = victims
        self.killed: list[str] = []

    def run(self) -> None:
        until(lambda: (now := figures.read(self._layout.directory / "crowd.json")) and now.counted > 100, 300)
        for victim in self._victims:
            pid = rows(self._layout)[victim]["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid, victim=victim: self._is_back(victim, pid), 120)
            self.killed.append(victim)

    def _is_back(self, victim: str, old_pid: int) -> bool:
        row = rows(self._layout)[victim]
        return row["state"] == "ready" and row["pid"] != old_pid


@pytest.mark.timeout(600)
def test_each_accepted_reaction_is_counted_once_while_every_tier_is_killed(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    victims = ("ingest", "publisher@cluster1", f"subscriber@{layout.ports.subscribers[0][0]}", "registry", "aggregator")
    killer = Killer(layout, victims)
    killer.start()
    status = demo.run(Wishes(for_seconds=30, reactions_per_second=100, viewers=20), layout)
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
    assert rows(layout) == {}


@pytest.fixture
def running_demo(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """The servers alone, started by a command of its own that a test may kill."""
    ports = layout.ports
    code = (
        "from pathlib import Path\n"
        "from emostream_lab import demo\n"
        "from emostream_lab.processes.topology import Layout, Ports\n"
        f"layout = Layout(Path({str(layout.directory)!r}), {ports!r})\n"
        "raise SystemExit(demo.run(demo.Wishes(only=('zookeeper', 'kafka', 'spark')), layout))\n"
    )
    command = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    until(lambda: rows(layout) and all(row["state"] == "ready" for row in rows(layout).values()), 90)
    yield command
    command.kill()
    command.wait()
    assert command.stdout is not None
    command.stdout.close()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind_however_the_command_ends(
    running_demo: subprocess.Popen[str], end: signal.Signals
) -> None:
    family = psutil.Process(running_demo.pid).children(recursive=True)
    assert len(family) >= 4
    running_demo.send_signal(end)
    until(lambda: not any(is_alive(process) for process in family), 30)
    assert running_demo.wait(30) == (0 if end is not signal.SIGKILL else -signal.SIGKILL)
