"""How an audience comes, reacts and leaves during a run, as pure functions of the run's progress."""

from collections.abc import Callable
from dataclasses import dataclass

# Viewers that come per second, unless the shape says otherwise. Each viewer asks the registry and opens a stream, which
# costs the system more than its stay. Locust also warns if a worker exceeds this rate.
_JOINS_PER_SECOND = 100


@dataclass(frozen=True)
class Audience:
    """A requested audience: its most viewers, its reactions per second at the peak, and how many seconds it stays."""

    viewers: int
    reactions_per_second: float
    seconds: float


def _calm_join(audience: Audience) -> float:
    return min(audience.viewers / _JOINS_PER_SECOND, audience.seconds / 4)


def _constant(_progress: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Shape:
    """One way for an audience to behave.

    `join_seconds` returns the time over which the viewers come. `excitement` maps the progress of the run (0 to 1) to
    the part of the reactions per second that is sent. A viewer leaves after `mean_stay_seconds` on average, and comes
    back. If this is None, it never leaves. `slow_share` of the viewers stop reading.
    """

    meaning: str
    join_seconds: Callable[[Audience], float] = _calm_join
    excitement: Callable[[float], float] = _constant
    mean_stay_seconds: float | None = None
    slow_share: float = 0.0

    def joins_per_second(self, audience: Audience) -> float:
        """Return viewers that come per second: at least 1, so that a run without viewers also starts its senders."""
        return max(1.0, audience.viewers / max(self.join_seconds(audience), 0.001))

    def reactions_per_second(self, audience: Audience, elapsed_seconds: float) -> float:
        """Return what the whole audience sends per second at this time, or 0 once the run is over."""
        if not 0 <= elapsed_seconds < audience.seconds:
            return 0.0
        return audience.reactions_per_second * self.excitement(elapsed_seconds / audience.seconds)


def _with_the_viewers(progress: float) -> float:
    return min(1.0, progress / _RAMP_PART)


def _goal(progress: float) -> float:
    """Return low excitement, then full excitement for a tenth of the run after a goal at 40 %, then a fall to low."""
    if progress < 0.4:
        return 0.1
    if progress < 0.5:
        return 1.0
    return max(0.1, 1.0 - (progress - 0.5) / 0.2)


# The ramp ends before the run does, so that the run also shows the peak.
_RAMP_PART = 2 / 3

SHAPES: dict[str, Shape] = {
    "steady": Shape("all come calmly and react evenly"),
    "ramp": Shape(
        "viewers and reactions rise together over two thirds of the run, then stay",
        join_seconds=lambda audience: audience.seconds * _RAMP_PART,
        excitement=_with_the_viewers,
    ),
    "match": Shape("quiet, a goal, quiet again", excitement=_goal),
    "stampede": Shape("all viewers come within 5 s", join_seconds=lambda _: 5.0),
    "churn": Shape("viewers fall away every 20 s on average, and resume", mean_stay_seconds=20.0),
    "slow": Shape("1 % of the viewers stop reading", slow_share=0.01),
}
