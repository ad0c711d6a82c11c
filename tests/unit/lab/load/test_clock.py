"""The order of events bounds the difference between two clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.load.clock import ClockDifference

delays = st.floats(0, 5_000)


@given(st.floats(-1e7, 1e7), st.lists(st.tuples(st.floats(0, 1e9), delays, delays), min_size=1))
def test_the_true_difference_always_lies_between_the_bounds(
    true_ms: float, swarms: list[tuple[float, float, float]]
) -> None:
    difference = ClockDifference()
    for end_by_our_clock, since_last_sent, until_first_seen in swarms:
        difference.observe(
            end_by_our_clock + true_ms, end_by_our_clock - since_last_sent, end_by_our_clock + until_first_seen
        )
    assert difference.least_ms - 1e-3 <= true_ms <= difference.most_ms + 1e-3


def test_clocks_that_may_agree_are_not_corrected() -> None:
    difference = ClockDifference()
    difference.observe(window_end_ms=10_000, last_sent_ms=9_980, first_seen_ms=10_300)
    assert difference.correction_ms == 0
    assert str(difference) == "between -300 and +20 ms, nothing corrected"


def test_clocks_that_cannot_agree_are_corrected_by_the_middle() -> None:
    difference = ClockDifference()
    difference.observe(window_end_ms=70_000, last_sent_ms=9_980, first_seen_ms=10_300)
    assert difference.correction_ms == pytest.approx(59_860)
    assert "corrected" in str(difference)


def test_without_a_swarm_nothing_is_measured() -> None:
    assert ClockDifference().correction_ms == 0
    assert str(ClockDifference()) == "not measured, nothing corrected"
