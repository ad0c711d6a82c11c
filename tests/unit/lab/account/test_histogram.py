"""Latency histograms keep three digits and the highest values, in one process and added up over several."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.account.histogram import bucket_ms, difference, percentile_ms

latencies = st.floats(0, 3_600_000)


@given(latencies)
def test_a_latency_is_kept_within_half_a_percent_or_half_a_millisecond(latency_ms: float) -> None:
    assert bucket_ms(latency_ms) == pytest.approx(latency_ms, rel=0.005, abs=0.5)


@given(st.lists(latencies, min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_the_latency_of_its_rank(samples: list[float], quantile: float) -> None:
    buckets = sorted(map(bucket_ms, samples))
    rank = next(number for number in range(1, len(samples) + 1) if number >= quantile * len(samples))
    assert percentile_ms(Counter(buckets), quantile) == buckets[rank - 1]


def test_no_samples_have_no_percentile() -> None:
    assert percentile_ms({}, 0.99) is None


@given(st.lists(latencies), st.lists(latencies))
def test_what_came_since_an_earlier_copy_is_told_apart(before: list[float], since: list[float]) -> None:
    earlier = Counter(map(bucket_ms, before))
    later = earlier + Counter(map(bucket_ms, since))
    assert +Counter(difference(later, earlier)) == Counter(map(bucket_ms, since))


@given(st.lists(st.lists(latencies, min_size=1), min_size=1), st.floats(0.001, 1))
def test_what_workers_counted_adds_up_to_what_one_process_would_have_counted(
    workers: list[list[float]], quantile: float
) -> None:
    merged = sum((Counter(map(bucket_ms, samples)) for samples in workers), Counter())
    alone = Counter(bucket_ms(latency_ms) for samples in workers for latency_ms in samples)
    assert percentile_ms(merged, quantile) == percentile_ms(alone, quantile)
