"""Tests the supervisor on small real processes: it starts them in order, restarts them, and leaves none behind."""

import json
import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from emostream.errors import EmoStreamError
from emostream_lab.processes.process import Process
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Part

FOREVER = ("sleep", "1000")


@pytest.fixture
def told() -> list[str]:
    return []


def is_alive(pid: int) -> bool:
    # If the init process does not reap orphans, an ended one stays as a zombie.
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def part(directory: Path, name: str, *command: str, needs: tuple[str, ...] = (), runs_once: bool = False) -> Part:
    process = Process(name, command or FOREVER, log_file=directory / f"{name}.log")
    return Part(name.partition("@")[0], process, needs=needs, runs_once=runs_once)


def test_a_part_starts_once_all_that_it_needs_is_ready(tmp_path: Path, told: list[str]) -> None:
    may_be_ready = tmp_path / "ready"
    first = Part("first", Process("first", FOREVER, log_file=tmp_path / "first.log", probe=may_be_ready.exists))
    second = part(tmp_path, "second", needs=("first",))
    supervisor = Supervisor([second, first], tmp_path / "state.json", told.append)
    try:
        for _ in range(3):
            supervisor.step()
        assert first.process.is_running()
        assert not second.process.is_running()
        may_be_ready.touch()
        supervisor.run_until(supervisor.all_ready)
        assert [sentence.split()[0] for sentence in told] == ["first", "second"]
    finally:
        supervisor.stop()


def test_a_command_counts_as_ready_once_it_ended_well(tmp_path: Path, told: list[str]) -> None:
    command = part(tmp_path, "topics", "true", runs_once=True)
    after = part(tmp_path, "after", needs=("topics",))
    supervisor = Supervisor([command, after], tmp_path / "state.json", told.append)
    try:
        supervisor.run_until(supervisor.all_ready)
        assert after.process.is_running()
    finally:
        supervisor.stop()


def test_a_part_that_dies_is_started_again_with_its_children_gone(tmp_path: Path, told: list[str]) -> None:
    victim = part(tmp_path, "victim", "sh", "-c", "sleep 1000 & echo $!; wait")
    supervisor = Supervisor([victim], tmp_path / "state.json", told.append)
    try:
        supervisor.run_until(supervisor.all_ready)
        supervisor.run_until(lambda: victim.process.log_text().endswith("\n"))
        first_pid, child_pid = victim.process.pid, int(victim.process.log_text())
        os.kill(first_pid, signal.SIGKILL)
        supervisor.run_until(lambda: any("ready again" in sentence for sentence in told))
        assert victim.process.pid != first_pid
        assert not is_alive(child_pid)
        assert "victim ended with status -9: restarting it" in told
    finally:
        supervisor.stop()


@pytest.mark.parametrize("runs_once", [False, True])
def test_a_part_that_fails_at_its_first_start_ends_the_start_with_its_log(
    tmp_path: Path, told: list[str], runs_once: bool
) -> None:
    command = ("sh", "-c", "echo no such port; exit 3")
    never_ready = Process("broken", command, log_file=tmp_path / "broken.log", probe=lambda: False)
    supervisor = Supervisor([Part("broken", never_ready, runs_once=runs_once)], tmp_path / "state.json", told.append)
    with pytest.raises(EmoStreamError, match=r"(?s)broken .* status 3.*no such port"):
        supervisor.run_until(supervisor.all_ready)
    supervisor.stop()


def test_a_part_that_comes_back_and_does_not_get_ready_is_started_once_more(tmp_path: Path, told: list[str]) -> None:
    log_file = tmp_path / "stuck.log"
    # The second of three processes never becomes ready.
    stuck = Process("stuck", FOREVER, log_file=log_file, probe=lambda: len(pids) != 2)
    pids: list[int] = []
    supervisor = Supervisor([Part("stuck", stuck, restart_timeout_seconds=0.2)], tmp_path / "state.json", told.append)

    def note_pid() -> bool:
        if stuck.is_running() and stuck.pid not in pids:
            pids.append(stuck.pid)
        return len(pids) == 3 and supervisor.all_ready()

    try:
        supervisor.run_until(lambda: note_pid() or supervisor.all_ready())
        os.kill(pids[0], signal.SIGKILL)
        supervisor.run_until(note_pid)
        assert "stuck is not ready after 0 s: restarting it" in told
        assert not is_alive(pids[1])
    finally:
        supervisor.stop()


def test_other_commands_find_each_process_in_the_state_file(tmp_path: Path, told: list[str]) -> None:
    supervisor = Supervisor([part(tmp_path, "subscriber@9001")], tmp_path / "state.json", told.append)
    try:
        supervisor.run_until(supervisor.all_ready)
        (row,) = json.loads((tmp_path / "state.json").read_text())
        assert row["name"] == "subscriber@9001"
        assert row["tier"] == "subscriber"
        assert is_alive(row["pid"])
    finally:
        supervisor.stop()
    assert not (tmp_path / "state.json").exists()
    assert not is_alive(row["pid"])


def test_stopping_kills_what_does_not_listen(tmp_path: Path, told: list[str]) -> None:
    deaf = part(tmp_path, "deaf", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    supervisor = Supervisor([deaf], tmp_path / "state.json", told.append, stop_timeout_seconds=0.3)
    supervisor.run_until(supervisor.all_ready)
    supervisor.stop()
    assert not deaf.process.is_running()


def test_parts_that_die_are_started_again_beside_other_work(tmp_path: Path, told: list[str]) -> None:
    only = part(tmp_path, "only")
    is_back = threading.Event()

    def note(sentence: str) -> None:
        told.append(sentence)
        if "ready again" in sentence:
            is_back.set()

    supervisor = Supervisor([only], tmp_path / "state.json", note)
    try:
        supervisor.run_until(supervisor.all_ready)
        only.process.send_signal(signal.SIGKILL)
        # The work ends only because the supervisor goes on.
        supervisor.run_beside(lambda: is_back.wait(60))
        assert is_back.is_set()
    finally:
        supervisor.stop()


def test_nobody_waits_for_other_work_once_it_is_over_and_its_error_is_raised(tmp_path: Path, told: list[str]) -> None:
    supervisor = Supervisor([], tmp_path / "state.json", told.append)
    never = threading.Event()
    supervisor.run_beside(never.wait, is_over=lambda: True)
    never.set()

    def fail() -> None:
        raise EmoStreamError("there is no room")

    with pytest.raises(EmoStreamError, match="there is no room"):
        supervisor.run_beside(fail)
