"""Delays grow with each failure up to a bound, and a subscriber that failed is avoided until all is well again."""

from hypothesis import given
from hypothesis import strategies as st

from emostream.client.course import BACKOFF_MAX_SECONDS, Course, backoff_seconds

draws = st.floats(0, 1)


@given(st.integers(1, 10_000), draws)
def test_a_delay_is_within_its_bounds(failures: int, draw: float) -> None:
    assert 0 <= backoff_seconds(failures, draw) <= backoff_seconds(failures, 1) <= BACKOFF_MAX_SECONDS
    assert backoff_seconds(failures, 1) <= backoff_seconds(failures + 1, 1)


def test_bounds_double() -> None:
    assert [backoff_seconds(failures, 1) for failures in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]


def test_a_message_makes_all_well() -> None:
    course = Course(lambda: 1)
    course.lost("c/1", None)
    course.lost("c/2", None)
    assert course.excluded == ["c/1", "c/2"]
    course.arrived()
    assert course.excluded == []
    assert course.lost("c/1", None) == 0.5


def test_a_loss_at_the_registry_forgives_all() -> None:
    course = Course(lambda: 1)
    course.lost("c/1", None)
    course.lost(None, None)
    assert course.excluded == []


@given(st.lists(st.integers(0, 20), min_size=1))
def test_the_newest_failures_are_excluded_once_each(failures: list[int]) -> None:
    course = Course(lambda: 0)
    for number in failures:
        course.lost(f"c/{number}", None)
    newest_first = list(dict.fromkeys(f"c/{number}" for number in reversed(failures)))
    assert course.excluded == newest_first[:8][::-1]


@given(st.floats(0, 60), draws)
def test_the_servers_wish_is_kept_and_stretched_by_a_half_at_most(wish: float, draw: float) -> None:
    delay = Course(lambda: draw).lost("c/1", wish)
    assert wish <= delay <= max(1.5 * wish, 0.5)
