"""What is broken when: decided before the start, by the seed alone. Pure."""

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Faults come in bursts, faster than anything recovers, so that they overlap. The next burst comes once the whole flows
# again, so that it meets it at work, however slow the machine is. One burst in five is a fault alone, by which is seen
# how long each tier takes.
BURSTS = (1, 2, 4, 6, 8)
"""How many faults may be in one."""
_IN_BURST_SECONDS = (1.0, 5.0)
_TWO_AT_ONCE = 1 / 6

Tiers = Mapping[str, Sequence[str]]
"""The names of the processes that there are to break, by tier."""


class Kind(enum.StrEnum):
    """What is done to the victims; the value reads well before their names."""

    KILL = "kill"
    """SIGKILL."""
    STOP = "stop"
    """SIGSTOP, and much later SIGCONT, when whoever waited has given up."""
    KILL_IN_COMMIT = "kill, in a commit,"
    """SIGKILL, between the writing of a swarm and its commit."""
    STOP_IN_COMMIT = "stop, in a commit,"
    KILL_ALL = "kill them"
    """SIGKILL for all at once, as a power cut of one machine would."""
    DELETE_CHECKPOINT = "delete checkpoint of"
    """Under the feet of the aggregator that uses it."""
    RIVAL = "start rival of"
    """A second aggregator that is elected too, in an election of its own: it takes the first one's place by force."""


@dataclass(frozen=True)
class Fault:
    """So many seconds after its burst began, this happens to these processes. Bursts are numbered from 0."""

    burst: int
    after_seconds: float
    kind: Kind
    victims: tuple[str, ...]

    def __str__(self) -> str:
        return f"burst {self.burst + 1:>3} +{self.after_seconds:4.1f} s  {self.kind} {' and '.join(self.victims)}"


def schedule(seed: int, count: int, tiers: Tiers, most_in_burst: int = max(BURSTS)) -> list[Fault]:
    """The faults of a run. Each kind befalls each tier before any does so again; one SIGKILL or SIGSTOP in six hits
    a second process at the same time."""
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


def _deck(tiers: Tiers) -> list[tuple[Kind, Sequence[str]]]:
    return [
        *((kind, names) for kind in (Kind.KILL, Kind.STOP) for names in tiers.values()),
        (Kind.KILL_IN_COMMIT, tiers["kafka"]),
        (Kind.STOP_IN_COMMIT, tiers["kafka"]),
        (Kind.KILL_ALL, ["all"]),
        (Kind.DELETE_CHECKPOINT, ["aggregator"]),
        (Kind.RIVAL, ["aggregator"]),
    ]
