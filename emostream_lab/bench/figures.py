"""What a benchmark finds: values, the bounds they are judged by, and how a cost grows. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One value that was measured, and the bound that it should reach; without one it is told and not judged.

    `part` and `name` are the same in each run; what differs from run to run is in `value` and in `note`.
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
        """Whether it is within its bounds, the bounds included."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def bound(self) -> str:
        """As a person reads it; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {number(self.at_least)}"
        return f"≤ {number(self.at_most)}" if self.at_most is not None else ""

    def unjudged(self) -> "Figure":
        """The same value without its bounds: for a run that is too short to judge it by them."""
        return msgspec.structs.replace(self, at_least=None, at_most=None)

    @property
    def headroom(self) -> float | None:
        """How many times better than its bound it is; below 1 where it is short; None where that has no meaning."""
        if self.at_least:
            return self.value / self.at_least
        return self.at_most / self.value if self.at_most and self.value > 0 else None


class Hops(msgspec.Struct, frozen=True):
    """The mean milliseconds of each hop on a reaction's way, in its order; these add up to the whole."""

    trigger_ms: int
    milliseconds: dict[str, float]


class Growth(msgspec.Struct, frozen=True):
    """What one unit of work costs at growing loads: `costs` by load, both in ascending order of the loads."""

    what: str
    load: str
    cost: str
    costs: dict[int, float]

    @property
    def exponent(self) -> float:
        """0 where the cost is the same at every load, 1 where it grows like the load."""
        return exponent(self.costs)


class Findings(msgspec.Struct):
    """All that one part, or a whole run, has found."""

    figures: list[Figure] = []
    hops: list[Hops] = []
    growth: list[Growth] = []

    def add(self, other: "Findings") -> None:
        """Take in what another part has found."""
        self.figures += other.figures
        self.hops += other.hops
        self.growth += other.growth


def exponent(costs: Mapping[int, float]) -> float:
    """The slope of cost over load on logarithmic axes, by least squares."""
    loads = [math.log(load) for load in costs]
    return statistics.linear_regression(loads, [math.log(cost) for cost in costs.values()]).slope


def quantile(values: Sequence[float], part: float) -> float:
    """The least of the values that this part (0 to 1) of all does not exceed; there must be one at least."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def number(value: float) -> str:
    """With as many digits as mean something: 271,340 and 1.44."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def short(figures: Sequence[Figure]) -> list[Figure]:
    """Those that are judged and out of their bounds."""
    return [figure for figure in figures if figure.is_judged and not figure.is_reached]


def last_lines(figures: Sequence[Figure]) -> str:
    """What a run ends with: each figure that is short, a line each, and how many are reached."""
    judged = sum(figure.is_judged for figure in figures)
    lines = [
        f"short: {each.part}, {each.name}: {number(each.value)} {each.unit} ({each.bound})" for each in short(figures)
    ]
    return "\n".join([*lines, f"{judged - len(lines)} of {judged} figures reached"])
