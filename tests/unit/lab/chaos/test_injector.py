"""Tests the injector on real processes: a burst waits for the recovery from the burst before it, up to a limit."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emostream_lab.chaos import injector
from emostream_lab.chaos.injector import Injector
from emostream_lab.chaos.plan import Fault, Kind
from emostream_lab.chaos.timeline import Timeline
from emostream_lab.processes.process import Process
from emostream_lab.processes.topology import Layout, Part

NEVER_MS = 0
FOR_EVER_MS = 10**15


@dataclass
class House:
    """Two processes that sleep, and a settable end of the newest swarm."""

    directory: Path
    came_to_ms: int = NEVER_MS
    parts: list[Part] = field(default_factory=list)

    def injector(self, *faults: Fault) -> Injector:
        return Injector(faults, Layout(self.directory), self.parts, lambda: self.came_to_ms, Timeline(lambda _: None))

    def restart(self, name: str) -> None:
        [part] = [part for part in self.parts if part.name == name]
        part.process.stop()
        part.process.start()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    for name in ("registry", "ingest"):
        process = Process(name, ["sleep", "1000"], log_file=tmp_path / name)
        process.start()
        house.parts.append(Part(name, process))
    yield house
    for part in house.parts:
        part.process.stop(0)


def kill(burst: int, name: str) -> Fault:
    return Fault(burst, 0.0, Kind.KILL, (name,))


def wait_for_death(house: House, name: str) -> None:
    [part] = [part for part in house.parts if part.name == name]
    while part.process.is_running():
        pass
    assert part.process.exit_status == -signal.SIGKILL


def is_running(house: House, name: str) -> bool:
    [part] = [part for part in house.parts if part.name == name]
    return part.process.is_running()


def test_a_burst_waits_until_the_one_before_it_is_recovered_from(house: House) -> None:
    found = house.injector(kill(0, "registry"), kill(1, "ingest"))
    found.step()
    wait_for_death(house, "registry")
    found.step()
    assert is_running(house, "ingest")
    house.restart("registry")
    found.step()
    found.step()
    assert is_running(house, "ingest"), "the registry is back, but nothing flows"
    house.came_to_ms = FOR_EVER_MS
    found.step()
    found.step()
    wait_for_death(house, "ingest")
    assert not found.is_over()
    house.restart("ingest")
    for _ in range(3):
        found.step()
    assert found.is_over()
    assert all(injection.is_recovered for injection in found.injections)
    found.stop()


def test_it_can_be_cut_short(house: House) -> None:
    found = house.injector(kill(0, "registry"), kill(1, "ingest"))
    found.step()
    wait_for_death(house, "registry")
    found.cut_short()
    assert not found.is_over()
    house.restart("registry")
    house.came_to_ms = FOR_EVER_MS
    for _ in range(3):
        found.step()
    assert found.is_over()
    assert is_running(house, "ingest")
    found.stop()


def test_a_burst_does_not_wait_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injector, "_PATIENCE_SECONDS", -1.0)
    found = house.injector(kill(0, "registry"), kill(1, "ingest"))
    for _ in range(3):
        found.step()
    wait_for_death(house, "ingest")
    assert not found.injections[0].is_recovered
    found.stop()
