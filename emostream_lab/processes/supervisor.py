"""Supervises a topology: starts its parts in order, restarts those that die, and stops all in reverse order."""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream_lab.processes.topology import Part

_STEP_SECONDS = 0.1
# On a machine that is busy with other work, Spark alone may take minutes to start.
_START_TIMEOUT_SECONDS = 240
# The delay before a restart, like RestartSec of systemd. It keeps a part that always fails from using up a core.
_RESTART_SECONDS = 1
_STOP_TIMEOUT_SECONDS = 10


class State(Enum):
    """The state of a part."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"


class Supervisor:
    """Keeps the parts running. Single-threaded: all work is done in `step`, which the owner calls ten times a second.

    `tell` is called with a sentence for each event that a person wants to see. `state_file` holds the current parts as
    a JSON list of `{name, tier, state, pid, address, log}`, from which other commands find a process.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        state_file: Path,
        tell: Callable[[str], None],
        stop_timeout_seconds: float = _STOP_TIMEOUT_SECONDS,
    ) -> None:
        self._parts = {part.name: part for part in parts}
        self._states = dict.fromkeys(self._parts, State.WAITING)
        self._started_at = dict.fromkeys(self._parts, 0.0)
        self._died_at = dict.fromkeys(self._parts, 0.0)
        self._were_ready: set[str] = set()
        self._state_file = state_file
        self._tell = tell
        self._stop_timeout_seconds = stop_timeout_seconds

    def step(self) -> None:
        """Start the parts that can start, note those that became ready, and restart those that died.

        Raises EmoStreamError with the end of its log when a part fails at its first start.
        """
        before = dict(self._states)
        for name, part in self._parts.items():
            self._states[name] = self._next_state(part)
        if self._states != before:
            self._write_state()

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Step until the condition holds."""
        while not condition():
            self.step()
            time.sleep(_STEP_SECONDS)

    def run_beside(self, work: Callable[[], object], is_over: Callable[[], bool] = lambda: False) -> None:
        """Step until the work, which may take long, is done in a thread of its own. Raises its error.

        Once `is_over`, nobody waits for the work any more.
        """
        done: Future[object] = Future()
        threading.Thread(target=_settle, args=(done, work), name="beside-the-supervisor", daemon=True).start()
        self.run_until(lambda: done.done() or is_over())
        if done.done():
            done.result()

    def all_ready(self) -> bool:
        return all(state is State.READY for state in self._states.values())

    def stop(self) -> None:
        """Stop all parts, tier by tier in reverse order of their start. Returns when no process runs."""
        for tier in reversed(dict.fromkeys(part.tier for part in self._parts.values())):
            members = [part for part in self._parts.values() if part.tier == tier]
            for part in members:
                part.process.terminate()
            for part in members:
                part.process.stop(self._stop_timeout_seconds)
        self._state_file.unlink(missing_ok=True)

    def _next_state(self, part: Part) -> State:
        state = self._states[part.name]
        if state is State.WAITING:
            return self._start(part) if self._needs_met(part) else state
        if state is State.DIED:
            is_due = time.monotonic() - self._died_at[part.name] > _RESTART_SECONDS
            return self._start(part) if is_due else state
        if part.runs_once:
            return self._watch_command(part)
        if not part.process.is_running():
            return self._on_exit(part)
        if state is State.STARTING:
            return self._watch_start(part)
        return state

    def _needs_met(self, part: Part) -> bool:
        needed = [other for other in self._parts.values() if {other.name, other.tier} & set(part.needs)]
        return all(self._states[other.name] is State.READY for other in needed)

    def _start(self, part: Part) -> State:
        part.process.start()
        self._started_at[part.name] = time.monotonic()
        return State.STARTING

    def _watch_command(self, part: Part) -> State:
        if part.process.is_running():
            return self._check_start_time(part)
        if part.process.exit_status != 0:
            raise self._failure(part, f"failed with status {part.process.exit_status}")
        return State.READY

    def _watch_start(self, part: Part) -> State:
        if not part.process.is_ready():
            return self._check_start_time(part)
        seconds = time.monotonic() - self._started_at[part.name]
        again = " again" if part.name in self._were_ready else ""
        self._tell(f"{part.name} is ready{again} after {seconds:.1f} s")
        self._were_ready.add(part.name)
        return State.READY

    def _check_start_time(self, part: Part) -> State:
        waited_seconds = time.monotonic() - self._started_at[part.name]
        if part.name not in self._were_ready:
            if waited_seconds > _START_TIMEOUT_SECONDS:
                raise self._failure(part, f"was not ready in {_START_TIMEOUT_SECONDS} s")
        elif waited_seconds > part.restart_timeout_seconds:
            self._tell(f"{part.name} is not ready after {waited_seconds:.0f} s: restarting it")
            return self._stop_and_wait(part)
        return State.STARTING

    def _on_exit(self, part: Part) -> State:
        status = part.process.exit_status
        if part.name not in self._were_ready:
            raise self._failure(part, f"ended with status {status} before it was ready")
        if self._states[part.name] is State.READY:
            self._tell(f"{part.name} ended with status {status}: restarting it")
        return self._stop_and_wait(part)

    def _stop_and_wait(self, part: Part) -> State:
        # The children of the old process must not run beside the new one.
        part.process.stop(timeout_seconds=0)
        self._died_at[part.name] = time.monotonic()
        return State.DIED

    def _failure(self, part: Part, what: str) -> EmoStreamError:
        log = part.process.log_file
        return EmoStreamError(f"{part.name} {what}; the end of {os.path.relpath(log)}:\n{part.process.log_tail()}")

    def _write_state(self) -> None:
        rows = [
            {
                "name": part.name,
                "tier": part.tier,
                "state": self._states[part.name].value,
                # After the end of a process, its id may belong to another process, which must get no signal.
                "pid": part.process.pid if part.process.is_running() else None,
                "address": part.address,
                "log": str(part.process.log_file),
            }
            for part in self._parts.values()
        ]
        temporary = self._state_file.with_suffix(".new")
        temporary.write_text(json.dumps(rows, indent=1))
        temporary.replace(self._state_file)


def _settle(done: "Future[object]", work: Callable[[], object]) -> None:
    try:
        done.set_result(work())
    except Exception as error:
        done.set_exception(error)
