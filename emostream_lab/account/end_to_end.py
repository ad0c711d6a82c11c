"""Measures the end-to-end latency, from POST to viewer: which swarm covers a reaction, and when a viewer saw it.

Both times are from one process's clock, so clock differences do not matter. Each reaction is timed to its arrival at
one viewer, which is drawn at random. Over a run, this gives the distribution over all pairs of reaction and viewer, at
the cost of one draw.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

# Arrivals are kept for this many swarms. Reactions in older swarms are not timed.
_SWARMS_KEPT = 256


class EndToEndLatency(NamedTuple):
    """A request was due, and a viewer saw the swarm that covers its reactions."""

    due_seconds: float
    seen_seconds: float
    reactions: int

    @property
    def latency_ms(self) -> float:
        return (self.seen_seconds - self.due_seconds) * 1_000


class EndToEndLatencies:
    """The accepted reactions of one process that wait for their swarm, and when its viewers saw each swarm.

    Its size is bounded by what is in the pipeline, because a record leaves with its swarm. Times are seconds of one
    clock. Each map of ends gives, for each partition, the offset after the last record that a swarm covers.
    """

    def __init__(self) -> None:
        self._untimed: defaultdict[int, dict[int, list[tuple[float, int]]]] = defaultdict(dict)
        self._arrivals: dict[int, list[float]] = {}
        self._counted: dict[int, int] = {}
        self._timed: dict[int, int] = {}

    def accepted(self, partition: int, offset: int, due_seconds: float, reactions: int) -> None:
        """Note that a request was accepted, and that its reactions are in this record."""
        # An answer that comes after its swarm was timed is too late to be timed.
        if offset >= self._timed.get(partition, 0):
            self._untimed[partition].setdefault(offset, []).append((due_seconds, reactions))

    def seen(self, sequence: int, at_seconds: float) -> None:
        """Note that a viewer saw this swarm."""
        self._arrivals.setdefault(sequence, []).append(at_seconds)
        while len(self._arrivals) > _SWARMS_KEPT:
            del self._arrivals[next(iter(self._arrivals))]

    def arrivals(self, sequence: int) -> Sequence[float]:
        """Return when each viewer saw this swarm, the earliest first."""
        return self._arrivals.get(sequence, ())

    @property
    def waiting(self) -> int:
        """The number of accepted reactions that no swarm has covered yet."""
        return sum(
            reactions
            for partition, records in self._untimed.items()
            for offset, requests in records.items()
            for _, reactions in requests
            if offset >= self._counted.get(partition, 0)
        )

    def counted(self, ends: Mapping[int, int]) -> None:
        """Note what a swarm covers. `covered` does so too, so this is for a swarm that is timed later."""
        for partition, end in ends.items():
            self._counted[partition] = max(end, self._counted.get(partition, 0))

    def covered(
        self, sequence: int, ends: Mapping[int, int], choose: Callable[[Sequence[float]], float]
    ) -> Iterator[EndToEndLatency]:
        """Remove all reactions that this swarm covers, and yield the latency of each request.

        Call this in the order of the sequence numbers. If no viewer saw the swarm, its reactions are removed and
        nothing is yielded.
        """
        self.counted(ends)
        self._timed.update(ends)
        arrivals = self.arrivals(sequence)
        for partition, end in ends.items():
            records = self._untimed[partition]
            for offset in [offset for offset in records if offset < end]:
                for due_seconds, reactions in records.pop(offset):
                    if arrivals:
                        yield EndToEndLatency(due_seconds, choose(arrivals), reactions)
