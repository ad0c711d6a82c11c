"""How many bytes of unfinished bodies are held."""

from emostream.runtime.budget import SMALL_BODY_BYTES, BodyBudget

LARGE = SMALL_BODY_BYTES + 1


def test_large_bodies_leave_a_quarter_to_small_ones() -> None:
    budget = BodyBudget(40_000)
    assert budget.take(30_000, LARGE)
    assert not budget.take(1, LARGE)
    assert budget.take(10_000, SMALL_BODY_BYTES)
    assert not budget.take(1, SMALL_BODY_BYTES)
    assert budget.held_bytes == 40_000


def test_what_is_refused_is_not_held_and_what_is_given_back_is_free() -> None:
    budget = BodyBudget(40_000)
    assert not budget.take(30_001, LARGE)
    assert budget.held_bytes == 0
    assert budget.take(30_000, LARGE)
    budget.give_back(30_000)
    assert budget.take(30_000, LARGE)
