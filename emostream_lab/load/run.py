"""The state of one run in one process: what its users must do, and what they sent and saw."""

import time
from collections.abc import Sequence

from emostream_lab.account.tally import Tally
from emostream_lab.audience.shapes import SHAPES, Audience
from emostream_lab.load.clock import ClockDifference

_EPOCH_SECONDS = time.time() - time.monotonic()


def now_seconds() -> float:
    """Return seconds since the epoch, from the machine's clock at the start plus monotonic time: it never jumps."""
    return _EPOCH_SECONDS + time.monotonic()


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
        self.tally = Tally()
        self.clock = ClockDifference()

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
