"""Delays grow with each failure up to a bound, and a subscriber that failed is avoided until all is well again."""

from hypothesis import given
from hypothesis import strategies as st

from emostream.client.reconnect import BACKOFF_MAX_SECONDS, ReconnectPolicy, backoff_seconds

draws = st.floats(0, 1)


@given(st.integers(1, 10_000), draws)
def test_a_delay_is_within_its_bounds(failures: int, draw: float) -> None:
    assert 0 <= backoff_seconds(failures, draw) <= backoff_seconds(failures, 1) <= BACKOFF_MAX_SECONDS
    assert backoff_seconds(failures, 1) <= backoff_seconds(failures + 1, 1)


def test_bounds_double() -> None:
    assert [backoff_seconds(failures, 1) for failures in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]


def test_a_message_makes_all_well() -> None:
    policy = ReconnectPolicy(lambda: 1)
    policy.lost("c/1", None)
    policy.lost("c/2", None)
    assert policy.excluded == ["c/1", "c/2"]
    policy.arrived()
    assert policy.excluded == []
    assert policy.lost("c/1", None) == 0.5


def test_a_loss_at_the_registry_forgives_all() -> None:
    policy = ReconnectPolicy(lambda: 1)
    policy.lost("c/1", None)
    policy.lost(None, None)
    assert policy.excluded == []


@given(st.lists(st.integers(0, 20), min_size=1))
def test_the_newest_failures_are_excluded_once_each(failures: list[int]) -> None:
    policy = ReconnectPolicy(lambda: 0)
    for number in failures:
        policy.lost(f"c/{number}", None)
    newest_first = list(dict.fromkeys(f"c/{number}" for number in reversed(failures)))
    assert policy.excluded == newest_first[:8][::-1]


@given(st.floats(0, 60), draws)
def test_the_wait_that_the_server_asks_for_is_extended_by_at_most_a_half(asked: float, draw: float) -> None:
    delay = ReconnectPolicy(lambda: draw).lost("c/1", asked)
    assert asked <= delay <= max(1.5 * asked, 0.5)
