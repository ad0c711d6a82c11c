"""The state of one run in one process: what its users must do, what they sent and what they saw."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from emostream.client.watcher import Watcher
from emostream.model import Counts, Swarm
from emostream_lab.load.clock import ClockDifference
from emostream_lab.load.conservation import Report, Seen, Sent
from emostream_lab.load.end_to_end import EndToEndLatencies
from emostream_lab.load.shapes import SHAPES, Audience

# A viewer can lag this many swarms behind another one and still be compared with it.
_SWARMS_COMPARED = 1_000

_EPOCH_SECONDS = time.time() - time.monotonic()


def now_seconds() -> float:
    """Return seconds since the epoch, from the machine's clock at the start plus monotonic time: it never jumps."""
    return _EPOCH_SECONDS + time.monotonic()


class Spectator(Protocol):
    """The part of a viewer that a run's report needs."""

    watcher: Watcher
    is_connected: bool
    is_slow: bool


class Run:
    """One run, shared by all users of one process. It is used from one thread only."""

    def __init__(self, audience: Audience, shape: str, started_seconds: float) -> None:
        self.audience = audience
        self.shape = SHAPES[shape]
        self.palette: Sequence[str] = ()
        self.started_seconds = started_seconds
        self.is_sending = False
        self._is_over = False
        self.in_flight = 0
        """Requests that are not answered yet."""
        self.accepted: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.end_to_end = EndToEndLatencies()
        self.clock = ClockDifference()
        self.spectators: list[Spectator] = []
        self.unequal = 0
        # For each sequence number, what the first viewer that got the swarm got, and when.
        self._first: dict[int, tuple[Counts, float]] = {}

    @property
    def ends_seconds(self) -> float:
        return self.started_seconds + self.audience.seconds

    def begin_sending(self, palette: Sequence[str]) -> None:
        """Start sending, unless the run is already over."""
        self.palette = palette
        self.is_sending = not self._is_over

    def stop_sending(self) -> None:
        """Stop sending for good."""
        self.is_sending = False
        self._is_over = True

    def reactions_per_second(self, at_seconds: float) -> float:
        """Return how many reactions per second the whole audience must send at this time, over all processes."""
        return self.shape.reactions_per_second(self.audience, at_seconds - self.started_seconds)

    def seen(self, swarm: Swarm, came_seconds: float, opened_seconds: float) -> bool:
        """Record that a viewer got a swarm. Returns whether it got the swarm live.

        `opened_seconds` is when the viewer connected. The server replays swarms that other viewers saw before that
        time. A replay says nothing about how long a swarm takes.
        """
        counts, first_seconds = self._first.setdefault(swarm.sequence, (swarm.counts, came_seconds))
        while len(self._first) > _SWARMS_COMPARED:
            del self._first[next(iter(self._first))]
        if counts != swarm.counts:
            self.unequal += 1
        if first_seconds < opened_seconds:
            return False
        self.end_to_end.seen(swarm.sequence, came_seconds)
        return True

    def behind(self, sequence: int) -> int:
        """Return how many viewers are connected and read, but have not got the swarm of this sequence number."""
        return sum(
            spectator.is_connected and not spectator.is_slow and spectator.watcher.sequence < sequence
            for spectator in self.spectators
        )

    def report(self, worker: str, sequence: int, failures: int) -> Report:
        """Return the report of this process. `sequence` is the last swarm that its viewers should have got."""
        return Report(
            worker=worker,
            sequence=sequence,
            sent=Sent(dict(self.accepted), dict(self.unknown), dict(self.refused)),
            seen=self._seen(self.spectators, self.behind(sequence)),
            unseen=self.end_to_end.waiting,
            failures=failures,
            clock=str(self.clock),
        )

    def _seen(self, spectators: Iterable[Spectator], behind: int) -> Seen:
        seen = Seen(behind=behind, unequal=self.unequal)
        for spectator in spectators:
            watcher = spectator.watcher
            if watcher.stream is None:
                continue
            seen.viewers += 1
            seen.deliveries += watcher.swarms
            seen.expected += watcher.expected
            seen.gaps += watcher.gaps
            seen.repeats += watcher.repeats
            seen.unequal += watcher.mismatches
            # A viewer that does not read is meant to miss swarms, because its buffer is bounded.
            seen.resets += 0 if spectator.is_slow else watcher.resets
        return seen
