"""Decides how a viewer reconnects after a loss: how long it waits, and which subscribers it avoids.

Pure: the source of random numbers is an argument.
"""

import math
from collections.abc import Callable

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 15.0
# The mean wait after a WebSocket is lost. For SSE the subscriber sends `retry:`.
_LOST_RETRY_SECONDS = 2.0
# A viewer avoids at most this many subscribers. Past that, the one that failed first is allowed again.
_MAX_EXCLUDED = 8


def backoff_seconds(failures: int, draw: float) -> float:
    """Return the delay before the next try, with full jitter: a random time up to a bound.

    The bound doubles with each failure in a row. The jitter keeps viewers from reconnecting at the same time.
    `failures` is 1 after the first failure. `draw` is a uniform random number from 0 to 1.
    """
    doublings = min(failures - 1, 16)
    return draw * min(BACKOFF_MAX_SECONDS, math.ldexp(BACKOFF_FIRST_SECONDS, doublings))


class ReconnectPolicy:
    """How one viewer reconnects after its failures in a row. `draw` returns uniform random numbers from 0 to 1."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0
        self._excluded: list[str] = []

    @property
    def excluded(self) -> list[str]:
        """The subscribers that failed recently. The viewer asks the registry for any other one."""
        return list(self._excluded)

    def arrived(self) -> None:
        """Forget all failures, because a message came."""
        self._failures = 0
        self._excluded.clear()

    def avoid(self, subscriber: str) -> None:
        """Ask for another subscriber until a message comes."""
        others = [name for name in self._excluded if name != subscriber]
        self._excluded = [*others, subscriber][-_MAX_EXCLUDED:]

    def websocket_retry_seconds(self) -> float:
        """Return how long to wait after a WebSocket is lost, so that its viewers do not come back at the same time."""
        return _LOST_RETRY_SECONDS * (0.5 + self._draw())

    def lost(self, subscriber: str | None, retry_seconds: float | None) -> float:
        """Note a loss and return the seconds to wait. `subscriber` is None if the registry failed.

        The wait that the server asked for (`retry_seconds`) is extended by up to a half at random, because the server
        may have told many viewers the same.
        """
        self._failures += 1
        if subscriber is None:
            # Perhaps the only subscribers left are the excluded ones.
            self._excluded.clear()
        else:
            self.avoid(subscriber)
        asked_seconds = (retry_seconds or 0) * (1 + self._draw() / 2)
        return max(asked_seconds, backoff_seconds(self._failures, self._draw()))
