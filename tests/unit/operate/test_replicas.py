"""Copies of partitions go where they are needed, with few moves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import EmoStreamError
from emostream.operate.replicas import Placement, moves

EVEN = {0: [1, 2], 1: [2, 3], 2: [3, 1]}


def spread(placement: Placement, brokers: set[int]) -> int:
    counts = Counter(dict.fromkeys(brokers, 0))
    counts.update(broker for on in placement.values() for broker in on)
    return max(counts.values()) - min(counts.values())


def test_what_is_even_is_left_alone() -> None:
    assert moves(EVEN, {1, 2, 3}, 2) == {}
    assert moves({0: [2]}, {1, 2, 3}, 1) == {}


def test_a_single_broker_gets_company() -> None:
    assert moves({0: [1], 1: [1], 2: [1]}, {1, 2, 3}, 3) == {0: [2, 1, 3], 1: [3, 1, 2], 2: [1, 2, 3]}


def test_a_new_broker_gets_its_share() -> None:
    moved = moves({0: [1, 2], 1: [2, 1], 2: [1, 2], 3: [2, 1]}, {1, 2, 3}, 2)
    assert len(moved) == 2
    assert all(3 in on for on in moved.values())


@pytest.mark.parametrize("up", [{1, 2, 3, 4}, {1, 2, 4}], ids=["alive", "gone for good"])
def test_a_broker_leaves_its_copies_to_the_others(up: set[int]) -> None:
    assert moves(EVEN, up, 2, leaving={3}) == {1: [2, 4], 2: [4, 1]}


def test_a_copy_too_many_leaves_without_a_successor() -> None:
    assert moves({0: [1, 2, 3]}, {1, 2, 3}, 2) == {}
    assert moves({0: [1, 2, 3]}, {1, 2, 3}, 2, leaving={1}) == {0: [2, 3]}


def test_a_broker_that_is_down_keeps_its_copies_and_nothing_is_evened_out() -> None:
    assert moves({0: [1, 2], 1: [1, 2], 2: [1, 3]}, {1, 2, 4}, 2) == {}


def test_too_few_brokers_are_refused() -> None:
    with pytest.raises(EmoStreamError, match="3 copies need as many brokers, but 2 are up and stay"):
        moves({0: [1]}, {1, 2}, 3)
    with pytest.raises(EmoStreamError, match="1 copies need as many brokers, but 0 are up and stay"):
        moves({0: [1]}, {1}, 1, leaving={1})


PLACEMENTS = st.integers(1, 4).flatmap(
    lambda copies: st.lists(
        st.lists(st.integers(1, 6), min_size=copies, max_size=copies, unique=True), min_size=1, max_size=12
    )
)


@given(found=PLACEMENTS, copies=st.integers(1, 4), leaving=st.sets(st.integers(1, 6), max_size=2))
def test_whatever_was_found_becomes_even_and_stays_so(found: list[list[int]], copies: int, leaving: set[int]) -> None:
    up = set(range(1, 7))
    placement: dict[int, list[int]] = dict(enumerate(found))
    try:
        placement.update({partition: list(on) for partition, on in moves(placement, up, copies, leaving).items()})
    except EmoStreamError:
        assert len(up - leaving) < copies
        return
    assert all(copies <= len(set(on)) == len(on) <= max(copies, len(found[0])) for on in placement.values())
    assert not any(leaving & set(on) for on in placement.values())
    assert spread(placement, up - leaving) < 2
    assert moves(placement, up, copies, leaving) == {}
