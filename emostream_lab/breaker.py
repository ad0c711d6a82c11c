"""Kills a process of the running demo and reports when it is ready again. This is the command `make break`."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from emostream.errors import EmoStreamError
from emostream_lab.processes.supervisor import State

_POLL_SECONDS = 0.1
# Kafka and the driver of Spark start slowest, and more slowly on a busy machine.
_TIMEOUT_SECONDS = 120


class Row(msgspec.Struct, frozen=True):
    """A process in the state file of the supervisor. `pid` is None if the process does not run."""

    name: str
    tier: str
    state: str
    pid: int | None

    @property
    def is_ready(self) -> bool:
        return self.state == State.READY.value and self.pid is not None


_decoder = msgspec.json.Decoder(list[Row])


def read_rows(state_file: Path) -> list[Row]:
    """Read the processes of the running demo. Raises EmoStreamError if no demo runs."""
    try:
        return _decoder.decode(state_file.read_bytes())
    except FileNotFoundError:
        raise EmoStreamError("no demo runs here: start one with `make demo` first.") from None


def choose(rows: Sequence[Row], what: str, pick: Callable[[list[Row]], Row]) -> Row:
    """Choose a ready process of the tier or name `what`, or any ready process if `what` is empty.

    Raises EmoStreamError if no tier or process has this name, or none of its processes is ready.
    """
    named = [row for row in rows if what in ("", row.tier, row.name)]
    if not named:
        tiers = ", ".join(dict.fromkeys(row.tier for row in rows))
        raise EmoStreamError(
            f"there is no tier or process {what}: choose from {tiers}, or a name as in subscriber@9001."
        )
    if not (alive := [row for row in named if row.is_ready]):
        raise EmoStreamError(f"nothing of {what or 'the demo'} is running now: wait until it is ready, and try again.")
    return pick(alive)


def run(state_file: Path, what: str, pick: Callable[[list[Row]], Row], tell: Callable[[str], None]) -> None:
    """Kill one process and wait until it is ready again. Raises EmoStreamError if it is not ready after 120 s."""
    victim = choose(read_rows(state_file), what, pick)
    assert victim.pid is not None, "choose gives one that runs"  # noqa: S101
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    tell(f"Killed {victim.name} (process {victim.pid}, SIGKILL).")
    while not _is_back(state_file, victim):
        if time.monotonic() - killed_at > _TIMEOUT_SECONDS:
            raise EmoStreamError(
                f"{victim.name} is not back after {_TIMEOUT_SECONDS} s: see build/demo/logs, or its tier's log there."
            )
        time.sleep(_POLL_SECONDS)
    tell(f"{victim.name} is back and ready after {time.monotonic() - killed_at:.1f} s.")


def _is_back(state_file: Path, victim: Row) -> bool:
    return any(row.name == victim.name and row.is_ready and row.pid != victim.pid for row in read_rows(state_file))
