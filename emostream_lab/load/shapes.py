"""How an audience comes, reacts and falls away over a run, as pure functions of how much of the run is over."""

from collections.abc import Callable
from dataclasses import dataclass

# How fast viewers come where the shape says nothing else: each one asks the registry and opens a stream, which costs
# the system more than its stay. A Locust worker warns above this rate too.
_JOINS_PER_SECOND = 100


@dataclass(frozen=True)
class Audience:
    """What was asked for: viewers at most, reactions per second at the height, and the seconds that it lasts."""

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

    `join_seconds` is the time over which the viewers come. `excitement` says what part of the reactions per second is
    sent when this part of the run, 0 to 1, is over. A viewer falls away after `mean_stay_seconds` and comes back, or
    never where this is None. `slow_share` of the viewers stop reading.
    """

    meaning: str
    join_seconds: Callable[[Audience], float] = _calm_join
    excitement: Callable[[float], float] = _constant
    mean_stay_seconds: float | None = None
    slow_share: float = 0.0

    def joins_per_second(self, audience: Audience) -> float:
        """At least 1, so that a run without viewers starts its senders too."""
        return max(1.0, audience.viewers / max(self.join_seconds(audience), 0.001))

    def reactions_per_second(self, audience: Audience, elapsed_seconds: float) -> float:
        """What the whole audience sends now; nothing once the run is over."""
        if not 0 <= elapsed_seconds < audience.seconds:
            return 0.0
        return audience.reactions_per_second * self.excitement(elapsed_seconds / audience.seconds)


def _with_the_viewers(progress: float) -> float:
    return min(1.0, progress / _RAMP_PART)


def _goal(progress: float) -> float:
    """Quiet, a goal at 40 % of the run that is all over the place for a tenth of it, then calm again."""
    if progress < 0.4:
        return 0.1
    if progress < 0.5:
        return 1.0
    return max(0.1, 1.0 - (progress - 0.5) / 0.2)


# A ramp that never arrives cannot show how the height feels.
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
