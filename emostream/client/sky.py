"""Computes the positions of the emoji that fly over the terminal. Pure: time and random numbers are arguments."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emostream.model import Counts

# At most this many emoji fly at a time, so that the screen stays readable and fast to draw. Past that, the oldest go.
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
    """The emoji that rise over the screen. Each starts at its own column and time within the swarm's window."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        # Holds emoji in flight and emoji that start later, not ordered by start time.
        self._flyers: deque[_Flyer] = deque(maxlen=MAX_FLYING)

    def release(self, swarm: Counts, now: float, window_seconds: float) -> None:
        """Start the emoji of a swarm over the length of its window, so that the swarms join without a pause."""
        for emoji, count in swarm.items():
            for _ in range(min(count, MAX_FLYING)):
                launched_at = now + self._chance() * window_seconds
                self._flyers.append(_Flyer(emoji, launched_at, self._chance(), 2 * self._chance() - 1))

    def positions(self, now: float, width: int, height: int) -> Iterator[tuple[int, int, str]]:
        """Return the row, the column and the emoji of each one in flight. An emoji is two columns wide.

        Emoji that have reached the top are removed.
        """
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
