"""Tests that a running system is upgraded process by process, and no reaction is lost, doubled or skipped meanwhile.

`make test-upgrade BEFORE=REVISION` starts every tier from that revision, and replaces each process by this checkout's.
"""

import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from emostream.model import MAIN
from emostream_lab import demo
from emostream_lab.account import figures
from emostream_lab.demo import DemoOptions
from emostream_lab.processes import topology
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part, Ports
from tests.integration.asking import metric
from tests.pipeline import command

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]

REPOSITORY = Path(__file__).resolve().parents[2]
CROWD = DemoOptions(reactions_per_second=100, viewers=20)
OURS = {"registry", "subscriber", "publisher", "ingest", "aggregator", "audit"}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product of the revision to upgrade from."""
    revision = os.environ.get("BEFORE")
    assert revision, "name the revision to upgrade from: make test-upgrade BEFORE=REVISION"
    command = ["git", "-C", str(REPOSITORY), "archive", revision, "emostream"]
    archive = subprocess.run(command, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


class System:
    """The whole topology with its standbys, of which each process is of the revision before until it is upgraded."""

    def __init__(self, directory: Path, before: Path) -> None:
        self.knew_events = (before / "emostream" / "events").exists()
        self.layout = Layout(directory, Ports.free(clusters=2, subscribers_per_cluster=2), has_standbys=True)
        self.parts = topology.parts(self.layout)
        self.ours = [part for part in self.parts if part.tier in OURS]
        for part in self.ours:
            # Without the second one, the working directory comes first.
            part.process.environment |= {"PYTHONPATH": str(before), "PYTHONSAFEPATH": "1"}
        directory.mkdir()
        self.supervisor = Supervisor(self.parts, directory / "topology.json", lambda _: None)

    def upgrade(self, part: Part) -> None:
        """Replace a process, and wait until all are ready."""
        del part.process.environment["PYTHONPATH"]
        pid = part.process.pid
        part.process.terminate()
        self.supervisor.run_until(lambda: part.process.pid != pid and self.supervisor.all_ready())


@pytest.fixture
def system(tmp_path: Path, before: Path) -> Iterator[System]:
    system = System(tmp_path / "system", before)
    try:
        system.supervisor.run_until(system.supervisor.all_ready)
        yield system
    finally:
        system.supervisor.stop()


def in_turn(system: System) -> Sequence[Part]:
    """The order of the upgrades: one cluster, then what writes, then the other cluster.

    So each tier of either revision works beside the others of the other revision.
    """
    clusters = [
        {f"publisher@{name}", f"publisher-standby@{name}", *(f"subscriber@{port}" for port in ports)}
        for name, ports in zip(system.layout.clusters, system.layout.ports.subscribers, strict=True)
    ]

    def rank(part: Part) -> tuple[int, str, bool]:
        turn = 0 if part.name in clusters[0] else 2 if part.name in clusters[1] else 1
        # The standby first: when the leader is replaced, one of this checkout takes over.
        return turn, part.tier, "standby" not in part.name

    return sorted(system.ours, key=rank)


def flows(crowd_file: Path, swarms: int) -> bool:
    newest = figures.read(crowd_file)
    return newest is not None and newest.swarms >= swarms and newest.viewers == CROWD.viewers


def test_a_system_is_upgraded_under_load(system: System, tmp_path: Path) -> None:
    crowd_file = tmp_path / "crowd.json"
    crowd = demo.crowd(CROWD, system.layout, crowd_file, [MAIN])
    crowd.start()
    try:
        system.supervisor.run_until(lambda: flows(crowd_file, 2))
        order = in_turn(system)
        for part in order:
            system.upgrade(part)
            newest = figures.read(crowd_file)
            assert newest
            system.supervisor.run_until(lambda seen=newest.swarms: flows(crowd_file, seen + 2))
            if part is not order[-1] and not system.knew_events:
                refused = command(system.layout, "events", "open", "final", "--title", "A match")
                assert "of an earlier release" in refused.stderr
        crowd.send_signal(signal.SIGINT)
        system.supervisor.run_until(lambda: not crowd.is_running())
    finally:
        crowd.stop()
    account = figures.read(crowd_file)
    assert account
    assert account.is_final
    assert account.problems == []
    assert account.missed == account.repeated == 0
    for wrong in ("lost", "doubled"):
        assert metric(system.layout.ports.audit, f"emostream_audit_{wrong}_reactions") == 0
    assert command(system.layout, "events", "open", "final", "--title", "A match").stderr == ""
