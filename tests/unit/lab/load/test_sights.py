"""Each accepted reaction is timed once, to a sight of the swarm that covers it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.load.sights import Sights


def test_a_reaction_is_timed_from_when_it_was_due_to_a_sight_of_its_swarm() -> None:
    sights = Sights()
    sights.accepted(partition=2, offset=17, due_seconds=100.0, reactions=3)
    sights.seen(5, at_seconds=101.5)
    sights.seen(5, at_seconds=102.5)
    assert sights.waiting == 3
    assert list(sights.covered(5, {2: 17}, max)) == []
    [sight] = sights.covered(5, {2: 18}, max)
    assert (sight.latency_ms, sight.reactions) == (2_500, 3)
    assert sights.waiting == 0


def test_what_nobody_saw_is_let_go_of_and_not_timed() -> None:
    sights = Sights()
    sights.accepted(0, 0, 100.0, 1)
    assert list(sights.covered(9, {0: 10}, max)) == []
    assert sights.waiting == 0


def test_arrivals_of_old_swarms_are_forgotten() -> None:
    sights = Sights()
    for sequence in range(1_000):
        sights.seen(sequence, float(sequence))
    assert sights.arrivals(0) == ()
    assert sights.arrivals(999) == [999.0]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(1, 20))), st.randoms(use_true_random=False)
)
def test_each_reaction_is_timed_exactly_once(records: list[tuple[int, int, int]], draw: random.Random) -> None:
    sights = Sights()
    for partition, offset, reactions in records:
        sights.accepted(partition, offset, float(offset), reactions)
    timed = []
    for sequence, end in enumerate((10, 20, 51)):
        sights.seen(sequence, 100.0 + end)
        for sight in sights.covered(sequence, dict.fromkeys(range(4), end), draw.choice):
            timed.append((sight.due_seconds, sight.reactions))
            assert sight.seen_seconds == 100.0 + end
            assert sight.due_seconds < end
    assert sorted(timed) == sorted((offset, reactions) for _, offset, reactions in records)
    assert sights.waiting == 0


def test_waiting_counts_reactions_not_requests() -> None:
    sights = Sights()
    sights.accepted(0, 0, 1.0, 20)
    sights.accepted(0, 0, 1.0, 5)
    assert sights.waiting == 25
