"""What a viewer learns from each loss: whom to avoid, and how long to wait. Pure; chance is passed in."""

import math
from collections.abc import Callable

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 15.0
# Past this many, the subscriber that failed first is forgiven.
_MAX_EXCLUDED = 8


def backoff_seconds(failures: int, draw: float) -> float:
    """Full jitter: any delay up to a bound that doubles with each failure in a row, so that viewers lose their step.

    `failures` is 1 after the first one; `draw` is uniform from 0 to 1.
    """
    doublings = min(failures - 1, 16)
    return draw * min(BACKOFF_MAX_SECONDS, math.ldexp(BACKOFF_FIRST_SECONDS, doublings))


class Course:
    """One viewer's. `draw` gives numbers uniform from 0 to 1."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0
        self._excluded: list[str] = []

    @property
    def excluded(self) -> list[str]:
        """The subscribers that just failed: the registry is asked for any other."""
        return list(self._excluded)

    def arrived(self) -> None:
        """A message came, so all is well again."""
        self._failures = 0
        self._excluded.clear()

    def lost(self, subscriber: str | None, retry_seconds: float | None) -> float:
        """Seconds to wait, after a loss at `subscriber`, or at the registry (None).

        What the server wished for is stretched by up to a half, because many may have been told the same.
        """
        self._failures += 1
        if subscriber is None:
            # Perhaps none is left but those that have failed us.
            self._excluded.clear()
        else:
            others = [name for name in self._excluded if name != subscriber]
            self._excluded = [*others, subscriber][-_MAX_EXCLUDED:]
        wished = (retry_seconds or 0) * (1 + self._draw() / 2)
        return max(wished, backoff_seconds(self._failures, self._draw()))
