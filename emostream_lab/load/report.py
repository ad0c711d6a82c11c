"""Describes a run as one JSON document, from which the plots are drawn: timeline, latencies and verdict."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from emostream_lab.account.histogram import Counts, difference, percentile_ms
from emostream_lab.load.verdict import Report, Verdict

if TYPE_CHECKING:
    # Importing Locust patches the standard library.
    from locust.stats import RequestStats, StatsEntry

# Method and name of the entries that are not requests. Their rates are deliveries and seen reactions per second.
DELIVERY = ("DELIVERY", "window end to viewer")
END_TO_END = ("DELIVERY", "POST to viewer")


def once_all_have_come(group: str) -> tuple[str, str]:
    """Return the entry for what END_TO_END times after all viewers have come, of a group of events."""
    return "DELIVERY", f"POST to viewer, once all have come{group and f': {group}'}"


# A screen cannot show more. When the list is full, every second moment is dropped, and each new one is twice as long.
_MAX_MOMENTS = 600
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class Moment(msgspec.Struct):
    """Some seconds of a run: rates per second, and latencies in milliseconds of the reactions seen in them."""

    seconds: float
    users: int
    requests: float
    deliveries: float
    reactions: float
    failures: int
    p50: int | None
    p99: int | None


class Timeline:
    """The moments of one run. `sample` may be called at any interval."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._every = 1
        self._samples = 0
        self._last_seconds = 0.0
        self._last = Counter[str]()
        self._last_end_to_end: Counts = {}

    def sample(self, seconds: float, users: int, stats: "RequestStats") -> None:
        """Add the moment that ends now, `seconds` after the start of the run."""
        self._samples += 1
        if self._samples % self._every:
            return
        now = Counter(
            requests=stats.total.num_requests,
            deliveries=_entry(stats, DELIVERY).num_requests,
            reactions=_entry(stats, END_TO_END).num_requests,
        )
        end_to_end = dict(_entry(stats, END_TO_END).response_times)
        newest = difference(end_to_end, self._last_end_to_end)
        length = max(seconds - self._last_seconds, 0.001)
        rates = {name: max(0, count - self._last[name]) / length for name, count in now.items()}
        self.moments.append(
            Moment(
                seconds=seconds,
                users=users,
                failures=stats.total.num_failures,
                p50=percentile_ms(newest, 0.5),
                p99=percentile_ms(newest, 0.99),
                **rates,
            )
        )
        self._last, self._last_end_to_end, self._last_seconds = now, end_to_end, seconds
        if len(self.moments) >= _MAX_MOMENTS:
            self.moments = self.moments[1::2]
            self._every *= 2


class Latencies(msgspec.Struct):
    """One entry of the run: its name, its number of samples, and its latency in milliseconds at each of `QUANTILES`."""

    name: str
    count: int
    failures: int
    percentiles: list[int | None]


def latencies(stats: "RequestStats") -> list[Latencies]:
    """Return all entries. Those that are not requests come first."""
    return [
        Latencies(
            f"{entry.method} {entry.name}",
            entry.num_requests,
            entry.num_failures,
            [percentile_ms(entry.response_times, quantile) for quantile in QUANTILES],
        )
        for entry in sorted(stats.entries.values(), key=lambda entry: (entry.method != END_TO_END[0], entry.name))
    ]


def summary(
    verdict: Verdict | None, reports: Iterable[Report], timeline: Timeline, stats: "RequestStats"
) -> dict[str, Any]:
    """Return everything that the panel shows, in types that JSON can represent."""
    return {
        "verdict": msgspec.to_builtins(verdict),
        "clocks": {report.worker: report.clock for report in reports},
        "moments": msgspec.to_builtins(timeline.moments),
        "quantiles": QUANTILES,
        "latencies": msgspec.to_builtins(latencies(stats)),
    }


def _entry(stats: "RequestStats", entry: tuple[str, str]) -> "StatsEntry":
    method, name = entry
    return stats.get(name, method)
