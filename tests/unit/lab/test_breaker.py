"""Tests that `make break` kills the requested process and reports its restart. The victims are small real processes."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab import breaker
from emostream_lab.processes.process import Process
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Part


@pytest.fixture
def state_file(tmp_path: Path) -> Iterator[Path]:
    """Run a supervised topology of two subscribers and a command that runs once. Returns its state file."""
    parts = [
        Part("topics", Process("topics", ["true"], log_file=tmp_path / "topics.log"), runs_once=True),
        *(
            Part("subscriber", Process(name, ["sleep", "1000"], log_file=tmp_path / f"{name}.log"))
            for name in ("subscriber@1", "subscriber@2")
        ),
    ]
    supervisor = Supervisor(parts, tmp_path / "topology.json", lambda _: None)
    is_over, is_up = threading.Event(), threading.Event()

    # The kernel kills a child when the thread that started it ends, so one thread does all the work.
    def supervise() -> None:
        supervisor.run_until(lambda: supervisor.all_ready() and (is_up.set() or is_over.is_set()))
        supervisor.stop()

    thread = threading.Thread(target=supervise)
    thread.start()
    assert is_up.wait(30)
    yield tmp_path / "topology.json"
    is_over.set()
    thread.join()


@pytest.mark.parametrize("what", ["", "subscriber", "subscriber@2"])
def test_the_victim_is_killed_and_seen_to_come_back(state_file: Path, what: str) -> None:
    before = {row.name: row.pid for row in breaker.read_rows(state_file)}
    told: list[str] = []
    breaker.run(state_file, what, lambda rows: rows[-1], told.append)
    after = {row.name: row.pid for row in breaker.read_rows(state_file)}
    assert after["subscriber@1"] == before["subscriber@1"]
    assert after["subscriber@2"] != before["subscriber@2"]
    assert told[0].startswith("Killed subscriber@2")
    assert "back and ready" in told[1]


def test_a_victim_that_there_is_not_is_answered_with_those_that_there_are(state_file: Path) -> None:
    with pytest.raises(EmoStreamError, match="choose from topics, subscriber"):
        breaker.run(state_file, "kafak", lambda rows: rows[0], print)


def test_what_has_nothing_left_to_kill_is_not_killed(state_file: Path) -> None:
    with pytest.raises(EmoStreamError, match="nothing of topics is running"):
        breaker.run(state_file, "topics", lambda rows: rows[0], print)


def test_without_a_demo_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(EmoStreamError, match="make demo"):
        breaker.run(tmp_path / "topology.json", "", lambda rows: rows[0], print)
