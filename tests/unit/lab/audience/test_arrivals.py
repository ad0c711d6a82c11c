"""Requests are due at the current rate, in order, and never after the end."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.audience.arrivals import next_due


@given(st.floats(0, 1_000), st.floats(0, 1_000), st.floats(0, 10_000), st.floats(1e-6, 50, allow_nan=False))
def test_a_due_time_lies_after_the_last_one_and_before_the_end(
    after: float, until: float, rate: float, unit_exponential: float
) -> None:
    due = next_due(after, until, lambda _: rate, unit_exponential)
    assert min(after, until) <= due <= until


@given(st.floats(0, 10), st.floats(0.1, 1_000), st.floats(0.001, 10))
def test_at_a_constant_rate_the_distance_is_the_draw_over_the_rate(
    after: float, rate: float, unit_exponential: float
) -> None:
    due = next_due(after, after + 1, lambda _: rate, unit_exponential)
    assert due - after == pytest.approx(min(unit_exponential / rate, 1), rel=1e-6, abs=1e-6)


def test_silence_is_waited_out() -> None:
    assert next_due(0, 100, lambda now: 0 if now < 10 else 1, 1.0) == pytest.approx(11, abs=0.1)


def test_nothing_is_due_before_the_end_where_nothing_is_sent() -> None:
    assert next_due(0, 10, lambda _: 0, 1.0) == 10


def test_a_run_sends_as_much_as_its_rate_adds_up_to() -> None:
    draw = random.Random(7)
    sent, due = -1, 0.0
    while due < 60:
        sent += 1
        due = next_due(due, 60, lambda now: 200 if 20 <= now < 30 else 20, draw.expovariate(1))
    # 3,000 are expected; four standard deviations are 219.
    assert sent == pytest.approx(3_000, abs=219)
