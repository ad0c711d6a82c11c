"""One run as one process of it sees it: what its users are to do, have sent and have seen."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from emostream.client.watcher import Watcher
from emostream.model import Counts, Swarm
from emostream_lab.load.clock import ClockDifference
from emostream_lab.load.conservation import Report, Seen, Sent
from emostream_lab.load.shapes import SHAPES, Audience
from emostream_lab.load.sights import Sights

# As many swarms as a viewer can lag behind another one and still be compared with it.
_SWARMS_COMPARED = 1_000

_EPOCH_SECONDS = time.time() - time.monotonic()


def now_seconds() -> float:
    """Seconds since the epoch by this machine's clock as it was at the start: it never jumps."""
    return _EPOCH_SECONDS + time.monotonic()


class Spectator(Protocol):
    """A viewer, as far as a run's report needs it."""

    watcher: Watcher
    first_sequence: int
    is_connected: bool
    is_slow: bool


class Run:
    """Shared by all users of one process; used from one thread alone."""

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
        self.sights = Sights()
        self.clock = ClockDifference()
        self.spectators: list[Spectator] = []
        self.unequal = 0
        # What the first viewer that got a swarm got, and when.
        self._first: dict[int, tuple[Counts, float]] = {}

    @property
    def ends_seconds(self) -> float:
        return self.started_seconds + self.audience.seconds

    def begin_sending(self, palette: Sequence[str]) -> None:
        """All is ready; unless the run was over before."""
        self.palette = palette
        self.is_sending = not self._is_over

    def stop_sending(self) -> None:
        """For good."""
        self.is_sending = False
        self._is_over = True

    def reactions_per_second(self, at_seconds: float) -> float:
        """What the whole audience is to send then, all processes together."""
        return self.shape.reactions_per_second(self.audience, at_seconds - self.started_seconds)

    def seen(self, swarm: Swarm, came_seconds: float, opened_seconds: float) -> bool:
        """A viewer that connected at `opened_seconds` got a swarm; returns whether it got it live.

        What others had seen before it was connected is replayed to it, and tells nothing of how long a swarm takes.
        """
        counts, first_seconds = self._first.setdefault(swarm.sequence, (swarm.counts, came_seconds))
        while len(self._first) > _SWARMS_COMPARED:
            del self._first[next(iter(self._first))]
        if counts != swarm.counts:
            self.unequal += 1
        if first_seconds < opened_seconds:
            return False
        self.sights.seen(swarm.sequence, came_seconds)
        return True

    def behind(self, sequence: int) -> int:
        """Viewers that are connected and read, and have not got the swarm of this sequence."""
        return sum(
            spectator.is_connected and not spectator.is_slow and spectator.watcher.sequence < sequence
            for spectator in self.spectators
        )

    def report(self, worker: str, sequence: int, failures: int) -> Report:
        """What this process has to say at the end; `sequence` is the last that its viewers should have got."""
        return Report(
            worker=worker,
            sequence=sequence,
            sent=Sent(dict(self.accepted), dict(self.unknown), dict(self.refused)),
            seen=self._seen(self.spectators, self.behind(sequence)),
            unseen=self.sights.waiting,
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
            seen.expected += watcher.sequence - spectator.first_sequence - watcher.lost
            seen.gaps += watcher.gaps
            seen.repeats += watcher.repeats
            seen.unequal += watcher.mismatches
            # That a viewer which does not read misses swarms is what a bounded buffer is for.
            seen.resets += 0 if spectator.is_slow else watcher.resets
        return seen
