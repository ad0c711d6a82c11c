"""The latencies of many events are those that Locust's report names, and are judged by those of fewer events."""

from typing import Any

from emostream_lab.bench import events
from emostream_lab.load.report import QUANTILES, once_all_have_come


def report(**p99_ms: int) -> Any:
    """A report of Locust: the p99 of each group of events. All other percentiles are those of the group's number."""
    groups = {"": "", "large": "main", "small": "the other events"}
    return {
        "latencies": [
            {
                "name": " ".join(once_all_have_come(groups[group])),
                "percentiles": [p99 if quantile == 0.99 else number for quantile in QUANTILES],
            }
            for number, (group, p99) in enumerate(p99_ms.items())
        ]
    }


def judged(figures: list[Any]) -> list[tuple[float, bool]]:
    return [(figure.value, figure.is_reached) for figure in figures if figure.is_judged]


def test_many_events_are_judged_by_one_event() -> None:
    one, many = (events._read(report(**{"": p99}), busy=0.5) for p99 in (2_000, 2_600))
    assert judged(events._many_figures(one, many)) == [(1.3, True)]
    many = events._read(report(**{"": 2_602}), busy=0.5)
    assert judged(events._many_figures(one, many)) == [(1.301, False)]


def test_small_events_are_judged_by_the_same_without_the_large_one() -> None:
    beside_none = events._read(report(**{"": 2_000}), busy=0.2)
    beside_large = events._read(report(large=9_000, small=2_500), busy=0.9)
    figures = events._fair_figures(beside_none, beside_large)
    assert judged(figures) == [(1.25, False)]
    assert [figure.value for figure in figures if figure.name.endswith("p99")] == [2_000, 2_500, 9_000]
    assert "90%" in figures[-1].note
