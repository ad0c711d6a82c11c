"""The timeline of a run keeps no more moments than a screen can show, however long the run is."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from emostream_lab.load.report import DELIVERY, END_TO_END, Timeline, latencies


@dataclass
class Entry:
    name: str = ""
    method: str = ""
    num_requests: int = 0
    num_failures: int = 0
    response_times: dict[int, int] = field(default_factory=dict)


class Stats:
    """The part of Locust's statistics that the report reads. To import Locust's own would patch this process."""

    def __init__(self) -> None:
        self.total = Entry()
        self.entries: dict[tuple[str, str], Entry] = {}

    def get(self, name: str, method: str) -> Any:
        return self.entries.setdefault((name, method), Entry(name, method))

    def see(self, latency_ms: int, times: int) -> None:
        entry = self.get(END_TO_END[1], END_TO_END[0])
        entry.num_requests += times
        entry.response_times[latency_ms] = entry.response_times.get(latency_ms, 0) + times


def test_a_moment_tells_of_its_own_seconds_alone() -> None:
    stats: Any = Stats()
    timeline = Timeline()
    stats.see(1_000, times=10)
    stats.total.num_requests = 40
    timeline.sample(2, 100, stats)
    stats.see(3_000, times=20)
    stats.get(DELIVERY[1], DELIVERY[0]).num_requests = 300
    timeline.sample(4, 100, stats)
    first, second = timeline.moments
    assert (first.requests, first.reactions, first.p50) == (20, 5, 1_000)
    assert (second.requests, second.reactions, second.deliveries, second.p50) == (0, 10, 150, 3_000)


def test_a_moment_without_an_arrival_has_no_latency() -> None:
    timeline = Timeline()
    stats: Any = Stats()
    timeline.sample(2, 0, stats)
    assert timeline.moments[0].p99 is None


def test_a_long_run_is_kept_in_few_moments_that_cover_all_of_it() -> None:
    timeline = Timeline()
    stats: Any = Stats()
    for number in range(1, 5_001):
        stats.total.num_requests += 10
        timeline.sample(2.0 * number, 100, stats)
    assert len(timeline.moments) < 600
    assert timeline.moments[-1].seconds == pytest.approx(10_000, abs=64)
    assert {moment.requests for moment in timeline.moments} == {5}


def test_what_is_no_request_comes_first() -> None:
    stats: Any = Stats()
    stats.get("/v1/reactions", "POST").response_times = {5: 99, 700: 1}
    stats.see(2_000, times=3)
    seen, posted = latencies(stats)
    assert seen.name == "DELIVERY POST to viewer"
    assert posted.percentiles == [5, 5, 5, 700, 700]
