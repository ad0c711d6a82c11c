"""Measures how long a viewer is without a subscriber after it loses one. Pure: time is passed in."""

from collections import deque

import msgspec

from emostream.client.viewer import Live, ViewerState, Waiting

# A crowd may run without end, so only the newest moves are kept.
_MAX_MOVES = 10_000


class Move(msgspec.Struct, frozen=True):
    """A viewer lost `subscriber`, and connected to a subscriber again `away_seconds` later.

    `lost_at_seconds` is a time of the monotonic clock.
    """

    subscriber: str
    lost_at_seconds: float
    away_seconds: float


class Moves:
    """Derives the moves from the changes of state of each viewer."""

    def __init__(self) -> None:
        self.made: deque[Move] = deque(maxlen=_MAX_MOVES)
        self._live: dict[int, str] = {}
        self._lost: dict[int, tuple[str, float]] = {}

    def enter(self, viewer: int, state: ViewerState, now_seconds: float) -> None:
        """Note that the state of a viewer changed."""
        if isinstance(state, Waiting) and viewer in self._live:
            self._lost[viewer] = self._live.pop(viewer), now_seconds
        elif isinstance(state, Live):
            self._live[viewer] = state.subscriber
            if viewer in self._lost:
                subscriber, lost_at_seconds = self._lost.pop(viewer)
                self.made.append(Move(subscriber, lost_at_seconds, now_seconds - lost_at_seconds))
