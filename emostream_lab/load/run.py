"""The state of one run in one process: what its users must do, and what they sent and saw."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count, cycle
from random import Random

from emostream.model import MAIN
from emostream_lab.account.tally import Tally
from emostream_lab.audience.shapes import SHAPES, Audience
from emostream_lab.load.clock import ClockDifference

_EPOCH_SECONDS = time.time() - time.monotonic()


def now_seconds() -> float:
    """Return seconds since the epoch, from the machine's clock at the start plus monotonic time: it never jumps."""
    return _EPOCH_SECONDS + time.monotonic()


@dataclass
class Part:
    """What the users of one process need of an event, and what they sent to it and saw of it."""

    event: str
    palette: Sequence[str] = ()
    tally: Tally = field(default_factory=Tally)


class Run:
    """One run, shared by all users of one process. It is used from one thread only."""

    def __init__(
        self,
        audience: Audience,
        shape: str,
        started_seconds: float,
        events: Iterable[str] = (MAIN,),
        share_of_first: float | None = None,
    ) -> None:
        """`share_of_first` is the share (0 to 1) of viewers and reactions that the first event gets.

        The others get equal shares of the rest. If it is None, all events get the same.
        """
        self.audience = audience
        self.shape = SHAPES[shape]
        self.parts = [Part(event) for event in events]
        self._has_groups = share_of_first is not None and len(self.parts) > 1
        self._share_of_first = 1 / len(self.parts) if share_of_first is None else share_of_first
        self.started_seconds = started_seconds
        self.is_sending = False
        self._is_over = False
        self.in_flight = 0
        """Requests that are not answered yet."""
        self.clock = ClockDifference()

    @property
    def ends_seconds(self) -> float:
        return self.started_seconds + self.audience.seconds

    @property
    def seated_seconds(self) -> float:
        """When all viewers have come."""
        return self.started_seconds + self.shape.join_seconds(self.audience)

    def group_of(self, part: Part) -> str:
        """Return the group of events whose latencies are reported together: all, or the first one and the others."""
        if not self._has_groups:
            return ""
        return part.event if part is self.parts[0] else "the other events"

    @property
    def cumulative_shares(self) -> list[float]:
        """The shares of the reactions that `parts` get, added up."""
        of_each_other = (1 - self._share_of_first) / max(1, len(self.parts) - 1)
        return list(accumulate([self._share_of_first, *[of_each_other] * (len(self.parts) - 1)]))

    def parts_of_viewers(self, draw: Random) -> Iterator[Part]:
        """Yield the part of each next viewer. The parts get their shares, whatever the number of viewers is.

        Which part gets the first viewer is drawn, so that several processes do not all begin with the same one.
        """
        first, *others = self.parts
        turns = cycle(draw.sample(others, len(others)))
        start = draw.random()
        for number in count():
            is_due = int(start + (number + 1) * self._share_of_first) > int(start + number * self._share_of_first)
            yield first if is_due or not others else next(turns)

    def begin_sending(self) -> None:
        """Start sending, unless the run is already over. The palettes must be known."""
        self.is_sending = not self._is_over

    def stop_sending(self) -> None:
        """Stop sending for good."""
        self.is_sending = False
        self._is_over = True

    def reactions_per_second(self, at_seconds: float) -> float:
        """Return how many reactions per second the whole audience must send at this time, over all processes."""
        return self.shape.reactions_per_second(self.audience, at_seconds - self.started_seconds)
