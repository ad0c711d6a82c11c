"""Each accepted reaction is timed once, to an arrival of the swarm that covers it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.load.end_to_end import EndToEndLatencies


def test_a_reaction_is_timed_from_when_it_was_due_to_an_arrival_of_its_swarm() -> None:
    end_to_end = EndToEndLatencies()
    end_to_end.accepted(partition=2, offset=17, due_seconds=100.0, reactions=3)
    end_to_end.seen(5, at_seconds=101.5)
    end_to_end.seen(5, at_seconds=102.5)
    assert end_to_end.waiting == 3
    assert list(end_to_end.covered(5, {2: 17}, max)) == []
    [latency] = end_to_end.covered(5, {2: 18}, max)
    assert (latency.latency_ms, latency.reactions) == (2_500, 3)
    assert end_to_end.waiting == 0


def test_what_nobody_saw_is_let_go_of_and_not_timed() -> None:
    end_to_end = EndToEndLatencies()
    end_to_end.accepted(0, 0, 100.0, 1)
    assert list(end_to_end.covered(9, {0: 10}, max)) == []
    assert end_to_end.waiting == 0


def test_arrivals_of_old_swarms_are_forgotten() -> None:
    end_to_end = EndToEndLatencies()
    for sequence in range(1_000):
        end_to_end.seen(sequence, float(sequence))
    assert end_to_end.arrivals(0) == ()
    assert end_to_end.arrivals(999) == [999.0]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(1, 20))), st.randoms(use_true_random=False)
)
def test_each_reaction_is_timed_exactly_once(records: list[tuple[int, int, int]], draw: random.Random) -> None:
    end_to_end = EndToEndLatencies()
    for partition, offset, reactions in records:
        end_to_end.accepted(partition, offset, float(offset), reactions)
    timed = []
    for sequence, end in enumerate((10, 20, 51)):
        end_to_end.seen(sequence, 100.0 + end)
        for latency in end_to_end.covered(sequence, dict.fromkeys(range(4), end), draw.choice):
            timed.append((latency.due_seconds, latency.reactions))
            assert latency.seen_seconds == 100.0 + end
            assert latency.due_seconds < end
    assert sorted(timed) == sorted((offset, reactions) for _, offset, reactions in records)
    assert end_to_end.waiting == 0


def test_waiting_counts_reactions_not_requests() -> None:
    end_to_end = EndToEndLatencies()
    end_to_end.accepted(0, 0, 1.0, 20)
    end_to_end.accepted(0, 0, 1.0, 5)
    assert end_to_end.waiting == 25
