"""The results of a benchmark: values, the bounds that judge them, and how a cost grows. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec


@dataclass
class Measured:
    """What a server did within a time, at what cost in CPU time, and how long each took of those that were timed."""

    count: int = 0
    times_ms: list[float] = field(default_factory=list)
    server_cpu_seconds: float = 0
    received_bytes: int = 0

    @property
    def p99_ms(self) -> float:
        return quantile(self.times_ms, 0.99)


def per_cpu_second(rounds: Sequence[Measured]) -> float:
    """Return how many there were in all rounds for each second of the server's CPU time."""
    return sum(each.count for each in rounds) / sum(each.server_cpu_seconds for each in rounds)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value, and the bound that it should reach. A figure without a bound is reported and not judged.

    `part` and `name` are the same in each run. What differs between runs is in `value` and in `note`.
    """

    part: str
    name: str
    value: float
    unit: str = ""
    note: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_judged(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    @property
    def is_reached(self) -> bool:
        """Whether the value is within its bounds, the bounds included."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def bound(self) -> str:
        """The bound as text. Empty if there is none."""
        if self.at_least is not None:
            return f"≥ {number(self.at_least)}"
        return f"≤ {number(self.at_most)}" if self.at_most is not None else ""

    def unjudged(self) -> "Figure":
        """Return the same value without its bounds, for a run that is too short to judge it."""
        return msgspec.structs.replace(self, at_least=None, at_most=None)

    @property
    def headroom(self) -> float | None:
        """How many times better than its bound the value is.

        Below 1, the value misses its bound. None if this has no meaning.
        """
        if self.at_least:
            return self.value / self.at_least
        return self.at_most / self.value if self.at_most and self.value > 0 else None


class Hops(msgspec.Struct, frozen=True):
    """The mean milliseconds of each hop on a reaction's way, in order. They add up to the whole time."""

    trigger_ms: int
    milliseconds: dict[str, float]


class Growth(msgspec.Struct, frozen=True):
    """What one unit of work costs at growing loads. `costs` maps loads to costs, in ascending order of the loads."""

    what: str
    load: str
    cost: str
    costs: dict[int, float]

    @property
    def exponent(self) -> float:
        """0 if the cost is the same at every load, 1 if it grows in proportion to the load."""
        return exponent(self.costs)


class Findings(msgspec.Struct):
    """All results of one part, or of a whole run."""

    figures: list[Figure] = []
    hops: list[Hops] = []
    growth: list[Growth] = []

    def add(self, other: "Findings") -> None:
        """Add the results of another part."""
        self.figures += other.figures
        self.hops += other.hops
        self.growth += other.growth


def exponent(costs: Mapping[int, float]) -> float:
    """Return the slope of cost over load on logarithmic axes, by least squares."""
    loads = [math.log(load) for load in costs]
    return statistics.linear_regression(loads, [math.log(cost) for cost in costs.values()]).slope


def quantile(values: Sequence[float], part: float) -> float:
    """Return the least of the values that this part (0 to 1) of them does not exceed. Needs at least one value."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def number(value: float) -> str:
    """Return the value as text, with only the digits that mean something: 271,340 and 1.44."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def short(figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures that are judged and miss their bounds."""
    return [figure for figure in figures if figure.is_judged and not figure.is_reached]


def last_lines(figures: Sequence[Figure]) -> str:
    """Return the last lines of a run: one for each figure that misses its bound, and how many reach theirs."""
    judged = sum(figure.is_judged for figure in figures)
    lines = [
        f"short: {each.part}, {each.name}: {number(each.value)} {each.unit} ({each.bound})" for each in short(figures)
    ]
    return "\n".join([*lines, f"{judged - len(lines)} of {judged} figures reached"])
