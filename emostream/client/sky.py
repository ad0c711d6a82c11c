"""Where the emoji of a swarm are while they fly over the terminal. Pure: time and chance are arguments."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emostream.model import Counts

# What flies at once at most; past it the oldest give way, so a screen never gets too full to read nor slow to draw.
MAX_FLYING = 400

_FLIGHT_SECONDS = 3.0
_SWAY_COLUMNS = 2.0


@dataclass(frozen=True, slots=True)
class _Flyer:
    emoji: str
    launched_at: float
    column: float  # 0 to 1, of the width
    sway: float  # -1 to 1


class Sky:
    """Emoji that rise from the bottom to the top, each at its own place and time within the swarm's window."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        # Launched and yet to be launched, in no order of their launches.
        self._flyers: deque[_Flyer] = deque(maxlen=MAX_FLYING)

    def release(self, swarm: Counts, now: float, window_seconds: float) -> None:
        """Let a swarm go, spread over as long as its window was, so that windows flow into one another."""
        for emoji, count in swarm.items():
            for _ in range(min(count, MAX_FLYING)):
                launched_at = now + self._chance() * window_seconds
                self._flyers.append(_Flyer(emoji, launched_at, self._chance(), 2 * self._chance() - 1))

    def positions(self, now: float, width: int, height: int) -> Iterator[tuple[int, int, str]]:
        """Row, column and emoji of each in the air, an emoji taking two columns. Those past the top are let go."""
        for _ in range(len(self._flyers)):
            flyer = self._flyers.popleft()
            flown = (now - flyer.launched_at) / _FLIGHT_SECONDS
            if flown >= 1:
                continue
            self._flyers.append(flyer)
            if flown < 0:
                continue
            row = round((1 - flown) * (height - 1))
            column = round(flyer.column * (width - 2) + flyer.sway * _SWAY_COLUMNS * flown)
            yield row, max(0, min(column, width - 2)), flyer.emoji
