"""Each accepted reaction is timed once, to an arrival of the swarm that covers it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.account.end_to_end import EndToEndLatencies


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


def test_a_record_waits_until_its_own_partition_is_counted_as_far() -> None:
    end_to_end = EndToEndLatencies()
    end_to_end.accepted(1, 5, 1.0, 1)
    end_to_end.counted({0: 9, 1: 5})
    assert end_to_end.waiting == 1
    end_to_end.counted({0: 9, 1: 6})
    assert end_to_end.waiting == 0


def test_an_answer_may_come_after_its_swarm() -> None:
    end_to_end = EndToEndLatencies()
    end_to_end.seen(1, 2.0)
    end_to_end.counted({0: 5})
    end_to_end.accepted(0, 3, 1.0, 1)
    assert end_to_end.waiting == 0
    [latency] = end_to_end.covered(1, {0: 5}, max)
    assert latency.latency_ms == 1_000
    # This one is too late: the arrivals of the next swarm are not those of its own.
    end_to_end.accepted(0, 4, 1.0, 1)
    end_to_end.seen(2, 9.0)
    assert list(end_to_end.covered(2, {0: 6}, max)) == []
    assert end_to_end.waiting == 0


@given(
    posts=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2_000)), min_size=1),
    sights=st.lists(st.tuples(st.integers(1, 3), st.integers(2_000, 4_000)), min_size=1),
)
def test_every_pair_of_a_reaction_and_a_viewer_of_its_swarm_can_be_drawn_and_no_other(
    posts: list[tuple[int, int]], sights: list[tuple[int, int]]
) -> None:
    drawn = []
    for number in range(len(sights)):
        end_to_end = EndToEndLatencies()
        for sequence, at in posts:
            end_to_end.accepted(0, sequence, at, 1)
        for sequence, at in sights:
            end_to_end.seen(sequence, at)
        for sequence in (1, 2, 3):
            if number < len(end_to_end.arrivals(sequence)):
                latencies = end_to_end.covered(sequence, {0: sequence + 1}, lambda arrivals, n=number: arrivals[n])
            else:
                latencies = end_to_end.covered(sequence, {0: sequence + 1}, lambda _: float("nan"))
            drawn += [each.seen_seconds - each.due_seconds for each in latencies if each.seen_seconds > 0]
    assert sorted(drawn) == sorted(seen - posted for s, seen in sights for p, posted in posts if s == p)
