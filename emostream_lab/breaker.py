"""Kills a process of a running demo, and tells how it came back: what `make break` shows to whoever watches."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from emostream.errors import EmoStreamError
from emostream_lab.processes.supervisor import State

_LOOK_SECONDS = 0.1
# Kafka and Spark's driver start slowest, and on a busy machine they take their time.
_PATIENCE_SECONDS = 120


class Row(msgspec.Struct, frozen=True):
    """One process as the supervisor's state file has it; `pid` is None where nothing of it runs (any more)."""

    name: str
    tier: str
    state: str
    pid: int | None

    @property
    def is_ready(self) -> bool:
        return self.state == State.READY.value and self.pid is not None


_decoder = msgspec.json.Decoder(list[Row])


def read_rows(state_file: Path) -> list[Row]:
    """The processes of the demo that runs. Raises EmoStreamError where none does."""
    try:
        return _decoder.decode(state_file.read_bytes())
    except FileNotFoundError:
        raise EmoStreamError("no demo runs here: start one with `make demo`, and break it meanwhile.") from None


def choose(rows: Sequence[Row], what: str, pick: Callable[[list[Row]], Row]) -> Row:
    """The victim: any process that is at work, or one of the tier or name `what`.

    Raises EmoStreamError where `what` is neither, or none of it is at work now.
    """
    named = [row for row in rows if what in ("", row.tier, row.name)]
    if not named:
        tiers = ", ".join(dict.fromkeys(row.tier for row in rows))
        raise EmoStreamError(
            f"there is no tier or process {what}: choose from {tiers}, or a name as in subscriber@9001."
        )
    if not (alive := [row for row in named if row.is_ready]):
        raise EmoStreamError(f"nothing of {what or 'the demo'} is at work now: wait until it is ready, and try again.")
    return pick(alive)


def run(state_file: Path, what: str, pick: Callable[[list[Row]], Row], tell: Callable[[str], None]) -> None:
    """Kill one process, and return once it is ready again. Raises EmoStreamError where it does not come back."""
    victim = choose(read_rows(state_file), what, pick)
    assert victim.pid is not None, "choose gives one that runs"  # noqa: S101
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    tell(f"Killed {victim.name} (process {victim.pid}, SIGKILL).")
    while not _is_back(state_file, victim):
        if time.monotonic() - killed_at > _PATIENCE_SECONDS:
            raise EmoStreamError(
                f"{victim.name} is not back after {_PATIENCE_SECONDS} s: see build/demo/logs, or its tier's log there."
            )
        time.sleep(_LOOK_SECONDS)
    tell(f"{victim.name} is back and ready after {time.monotonic() - killed_at:.1f} s.")


def _is_back(state_file: Path, victim: Row) -> bool:
    return any(row.name == victim.name and row.is_ready and row.pid != victim.pid for row in read_rows(state_file))
