"""Measures the end-to-end latency, POST to viewer: which swarm covers a reaction, and when a viewer saw that swarm.

Both times are from one worker's clock, so clock differences do not matter. Each reaction is timed to its arrival at one
viewer, which is drawn at random. Over a run, this gives the distribution over all pairs of reaction and viewer, at the
cost of one draw.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

# Arrivals are kept for this many swarms. Reactions in older swarms are not timed.
_SWARMS_KEPT = 64


class EndToEndLatency(NamedTuple):
    """A request was due, and a viewer saw the swarm that covers its reactions."""

    due_seconds: float
    seen_seconds: float
    reactions: int

    @property
    def latency_ms(self) -> float:
        return (self.seen_seconds - self.due_seconds) * 1_000


class EndToEndLatencies:
    """The accepted reactions of one worker that wait for their swarm, and when its viewers saw each swarm.

    Its size is bounded by what is in the pipeline, because a record leaves with its swarm. Times are seconds of one
    clock.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[int, dict[int, list[tuple[float, int]]]] = defaultdict(dict)
        self._arrivals: dict[int, list[float]] = {}

    def accepted(self, partition: int, offset: int, due_seconds: float, reactions: int) -> None:
        """Note that a request was accepted, and that its reactions are in this record."""
        self._waiting[partition].setdefault(offset, []).append((due_seconds, reactions))

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
            for records in self._waiting.values()
            for requests in records.values()
            for _, reactions in requests
        )

    def covered(
        self, sequence: int, ends: Mapping[int, int], choose: Callable[[Sequence[float]], float]
    ) -> Iterator[EndToEndLatency]:
        """Remove all reactions that this swarm covers, and yield the latency of each request.

        `ends` maps each partition to the offset after the last record that the swarm covers. Call this in the order of
        the sequence numbers. If no viewer saw the swarm, its reactions are removed and nothing is yielded.
        """
        arrivals = self.arrivals(sequence)
        for partition, end in ends.items():
            records = self._waiting[partition]
            for offset in [offset for offset in records if offset < end]:
                for due_seconds, reactions in records.pop(offset):
                    if arrivals:
                        yield EndToEndLatency(due_seconds, choose(arrivals), reactions)
