"""The state of one run in one process: what its users must do, and what they sent and saw."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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

    def __init__(self, audience: Audience, shape: str, started_seconds: float, events: Iterable[str] = (MAIN,)) -> None:
        self.audience = audience
        self.shape = SHAPES[shape]
        self.parts = [Part(event) for event in events]
        self.started_seconds = started_seconds
        self.is_sending = False
        self._is_over = False
        self.in_flight = 0
        """Requests that are not answered yet."""
        self.clock = ClockDifference()

    @property
    def ends_seconds(self) -> float:
        return self.started_seconds + self.audience.seconds

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
