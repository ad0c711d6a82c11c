"""Plans the faults of a local run from a seed, before the run starts. Pure."""

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# Faults come in bursts, faster than any process recovers, so that they overlap. The next burst waits until swarms flow
# again, so it always hits a working topology, even on a slow machine. One burst in five is a single fault; these show
# how long the recovery of each tier takes.
BURSTS = (1, 2, 4, 6, 8)
"""The possible numbers of faults in a burst."""
_IN_BURST_SECONDS = (1.0, 5.0)
_TWO_AT_ONCE = 1 / 6

OPEN_AT_FIRST = ("chaos-1", "chaos-2")
"""The events besides `main` that are open before the first fault."""
_FAULTS_PER_STEP = 2
_AFTER_FAULT_SECONDS = 2.0

Tiers = Mapping[str, Sequence[str]]
"""The names of the possible victims, by tier."""


class Kind(enum.StrEnum):
    """A kind of fault. A description of a fault is the value, followed by the names of the victims."""

    KILL = "kill"
    """Send SIGKILL."""
    STOP = "stop"
    """Send SIGSTOP, and send SIGCONT after all time-outs of the other processes have expired."""
    KILL_IN_COMMIT = "kill, in a commit,"
    """Send SIGKILL after a swarm is written and before it is committed."""
    STOP_IN_COMMIT = "stop, in a commit,"
    """Send SIGSTOP at that moment."""
    KILL_ALL = "kill them"
    """Send SIGKILL to all processes at once, like a power cut of the machine."""
    DELETE_CHECKPOINT = "delete checkpoint of"
    """Delete the checkpoint while the aggregator uses it."""
    RIVAL = "start rival of"
    """Start a second aggregator that wins a separate election, and so forces the first one out."""


@dataclass(frozen=True)
class Fault:
    """A fault that hits `victims` at `after_seconds` after the start of its burst. Bursts are numbered from 0."""

    burst: int
    after_seconds: float
    kind: Kind
    victims: tuple[str, ...]

    def __str__(self) -> str:
        return f"burst {self.burst + 1:>3} +{self.after_seconds:4.1f} s  {self.kind} {' and '.join(self.victims)}"


def schedule(seed: int, count: int, tiers: Tiers, most_in_burst: int = max(BURSTS)) -> list[Fault]:
    """Plan the faults of a run.

    Each kind hits each tier that it applies to before any such pair comes again. One SIGKILL or SIGSTOP in six hits a
    second process at the same time.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    everyone = [name for names in tiers.values() for name in names]
    faults: list[Fault] = []
    deck: list[tuple[Kind, Sequence[str]]] = []
    sizes = [size for size in BURSTS if size <= most_in_burst]
    burst, after_seconds, left_in_burst = 0, 0.0, chance.choice(sizes)
    for _ in range(count):
        if not deck:
            deck = _deck(tiers)
            chance.shuffle(deck)
        kind, candidates = deck.pop()
        victims = [chance.choice(candidates)]
        if kind in {Kind.KILL, Kind.STOP} and chance.random() < _TWO_AT_ONCE:
            victims.append(chance.choice([name for name in everyone if name not in victims]))
        faults.append(Fault(burst, round(after_seconds, 1), kind, tuple(victims)))
        after_seconds += chance.uniform(*_IN_BURST_SECONDS)
        left_in_burst -= 1
        if not left_in_burst:
            burst, after_seconds, left_in_burst = burst + 1, 0.0, chance.choice(sizes)
    return faults


@dataclass(frozen=True)
class Step:
    """An event that is opened or closed at `after_seconds` after the start of a burst of faults."""

    burst: int
    after_seconds: float
    verb: Literal["open", "close"]
    event: str

    def __str__(self) -> str:
        return f"burst {self.burst + 1:>3} +{self.after_seconds:4.1f} s  {self.verb} {self.event}"


def event_steps(seed: int, faults: Sequence[Fault]) -> list[Step]:
    """Plan which events are opened and closed, one of them soon after every second fault.

    Each event is opened once, so that its viewers see all of it. One of those that are open is closed.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    opened, open_now = len(OPEN_AT_FIRST), list(OPEN_AT_FIRST)
    steps: list[Step] = []
    for fault in faults[::_FAULTS_PER_STEP]:
        after_seconds = round(fault.after_seconds + chance.uniform(0, _AFTER_FAULT_SECONDS), 1)
        if open_now and chance.random() < len(open_now) / (len(open_now) + len(OPEN_AT_FIRST)):
            event = open_now.pop(chance.randrange(len(open_now)))
            steps.append(Step(fault.burst, after_seconds, "close", event))
        else:
            opened += 1
            open_now.append(f"chaos-{opened}")
            steps.append(Step(fault.burst, after_seconds, "open", open_now[-1]))
    return steps


def _deck(tiers: Tiers) -> list[tuple[Kind, Sequence[str]]]:
    return [
        *((kind, names) for kind in (Kind.KILL, Kind.STOP) for names in tiers.values()),
        (Kind.KILL_IN_COMMIT, tiers["kafka"]),
        (Kind.STOP_IN_COMMIT, tiers["kafka"]),
        (Kind.KILL_ALL, ["all"]),
        (Kind.DELETE_CHECKPOINT, ["aggregator"]),
        (Kind.RIVAL, ["aggregator"]),
    ]
