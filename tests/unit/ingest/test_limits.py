"""A user sends as fast as allowed, whatever the others do, and no number of users fills the memory."""

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from emostream.ingest.limits import UserLimits


def limits(per_second: float = 10, burst: int = 20, max_users: int = 1_000) -> UserLimits:
    return UserLimits(per_second, burst, max_users)


def test_a_user_may_send_a_burst_and_then_as_fast_as_the_rate() -> None:
    own = limits()
    assert [own.take("a", 1, 0) for _ in range(20)] == [0] * 20
    assert own.take("a", 1, 0) == pytest.approx(0.1)
    assert own.take("a", 1, 0.1) == 0
    assert own.take("a", 5, 0.1) == pytest.approx(0.5)
    assert own.take("a", 5, 0.6) == 0


def test_what_was_refused_costs_nothing() -> None:
    own = limits()
    assert own.take("a", 20, 0) == 0
    for _ in range(100):
        assert own.take("a", 1, 0) > 0
    assert own.take("a", 20, 2) == 0


def test_one_user_takes_nothing_from_another() -> None:
    own = limits()
    assert own.take("a", 20, 0) == 0
    assert own.take("a", 1, 0) > 0
    assert own.take("b", 20, 0) == 0


def test_a_request_beyond_the_burst_is_refused_also_after_a_rest() -> None:
    own = limits()
    assert own.take("a", 21, 0) > 0
    assert own.take("a", 21, 100) > 0
    assert own.take("a", 20, 100) == 0


def test_a_bucket_is_remembered_until_it_is_full() -> None:
    own = limits()
    assert own.take("a", 20, 0) == 0
    for at in (0.5, 1.0, 1.5, 1.9):
        assert own.take("b", 1, at) == 0
        assert own.take("a", 20, at) == pytest.approx(2 - at)
    assert own.take("a", 20, 2) == 0


def test_memory_is_bounded_however_many_users_there_are() -> None:
    own = limits(max_users=100)
    for number in range(10_000):
        own.take(f"u{number}", 1, number / 100_000)
    assert len(own._full_at) + len(own._older) <= 100
    # Those who came last are still counted.
    assert own.take("u9999", 20, 0.1) > 0
    # When nobody comes any more, the memory is free.
    own.take("a", 1, 100)
    own.take("a", 1, 200)
    assert len(own._full_at) + len(own._older) <= 2


@given(
    lists(tuples(floats(0, 3), integers(1, 30)), max_size=60),
    floats(0.5, 50),
    integers(1, 40),
)
def test_no_user_gets_more_than_the_rate_and_a_burst(
    steps: list[tuple[float, int]], per_second: float, burst: int
) -> None:
    own = limits(per_second, burst)
    now, taken = 0.0, 0
    for pause, reactions in steps:
        now += pause
        wait_seconds = own.take("a", reactions, now)
        if wait_seconds == 0:
            taken += reactions
            assert taken <= burst + per_second * now + 0.01
        elif reactions <= burst:
            # It says when there is room, and not a second later.
            now += wait_seconds
            assert own.take("a", reactions, now + 0.001) == 0
            taken += reactions
