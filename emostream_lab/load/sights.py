"""From POST to sight: which swarm covers each accepted reaction, and when a viewer saw that swarm.

Both ends are times of one worker's clock, so no clock difference enters. Each reaction is timed to its sight by one
viewer drawn at random: over a run that is the distribution over all pairs of reaction and viewer, at the cost of one
draw.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

# Arrivals are kept for so many swarms; of older ones the reactions still waiting count as unseen.
_SWARMS_KEPT = 64


class Sight(NamedTuple):
    """A request was due, and a viewer saw the swarm that covers its reactions."""

    due_seconds: float
    seen_seconds: float
    reactions: int

    @property
    def latency_ms(self) -> float:
        return (self.seen_seconds - self.due_seconds) * 1_000


class Sights:
    """The accepted reactions of one worker that wait for their swarm, and when its viewers saw each swarm.

    Bounded by what is on its way through the pipeline: a record leaves with its swarm. Times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[int, dict[int, list[tuple[float, int]]]] = defaultdict(dict)
        self._arrivals: dict[int, list[float]] = {}

    def accepted(self, partition: int, offset: int, due_seconds: float, reactions: int) -> None:
        """A request was answered: its reactions are in this record."""
        self._waiting[partition].setdefault(offset, []).append((due_seconds, reactions))

    def seen(self, sequence: int, at_seconds: float) -> None:
        """A viewer saw this swarm."""
        self._arrivals.setdefault(sequence, []).append(at_seconds)
        while len(self._arrivals) > _SWARMS_KEPT:
            del self._arrivals[next(iter(self._arrivals))]

    def arrivals(self, sequence: int) -> Sequence[float]:
        """When each viewer saw this swarm, the first one first."""
        return self._arrivals.get(sequence, ())

    @property
    def waiting(self) -> int:
        """Accepted reactions that no swarm has covered yet."""
        return sum(
            reactions
            for records in self._waiting.values()
            for requests in records.values()
            for _, reactions in requests
        )

    def covered(
        self, sequence: int, ends: Mapping[int, int], choose: Callable[[Sequence[float]], float]
    ) -> Iterator[Sight]:
        """Let go of all that this swarm covers, the records below `ends` by partition, with the sight of each.

        Swarms are told in the order of their sequences. Nothing is said of reactions whose swarm nobody saw.
        """
        arrivals = self.arrivals(sequence)
        for partition, end in ends.items():
            records = self._waiting[partition]
            for offset in [offset for offset in records if offset < end]:
                for due_seconds, reactions in records.pop(offset):
                    if arrivals:
                        yield Sight(due_seconds, choose(arrivals), reactions)
