"""Tests the account of every reaction, and the percentiles over all reactions at all viewers."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream_lab.account.account import HORIZON_MS, Account, Latencies, Post, sent_by_others


def swarm(sequence: int, offsets: dict[str, int], counts: dict[str, int]) -> model.Swarm:
    return model.Swarm(
        id=f"s-{sequence}",
        sequence=sequence,
        window=model.Window(0, 0),
        reactions=sum(counts.values()),
        counts=counts,
        swarm={},
        totals=counts,
        progress=model.Progress("topic", offsets),
    )


def post(offset: int, counts: dict[str, int], *, partition: int = 0, posted_ms: int = 0) -> Post:
    return Post(partition, offset, posted_ms, counts)


def test_what_was_accepted_and_counted_is_neither_lost_nor_doubled() -> None:
    account = Account(swarm(7, {"0": 10}, {"🔥": 99}))
    account.accept(post(10, {"🔥": 2}))
    account.accept(post(11, {"🎉": 1}))
    account.count(swarm(8, {"0": 12}, {"🔥": 2, "🎉": 1}))
    account.match()
    assert account.in_flight == 0
    assert not account.lost(Counter())
    assert not account.doubled(Counter())


def test_loss_of_one_emoji_does_not_hide_behind_a_surplus_of_another() -> None:
    account = Account(swarm(0, {}, {}))
    account.accept(post(0, {"🔥": 2}))
    account.count(swarm(1, {"0": 1}, {"🎉": 2}))
    assert account.lost(Counter()) == Counter({"🔥": 2})
    assert account.doubled(Counter()) == Counter({"🎉": 2})


def test_an_unknown_outcome_may_be_counted_or_not() -> None:
    for counted in (0, 1):
        account = Account(swarm(0, {}, {}))
        account.not_known({"🔥": 1})
        account.count(swarm(1, {"0": 1}, {"🔥": counted}))
        assert not account.lost(Counter())
        assert not account.doubled(Counter())


def test_what_others_sent_is_expected_too() -> None:
    account = Account(swarm(0, {}, {}))
    account.count(swarm(1, {"0": 1}, {"🔥": 3}))
    assert account.doubled(Counter()) == Counter({"🔥": 3})
    assert not account.doubled(Counter({"🔥": 3}))
    assert account.lost(Counter({"🔥": 4})) == Counter({"🔥": 1})


def test_a_record_that_no_swarm_covers_is_in_flight_and_an_answer_may_come_after_its_swarm() -> None:
    account = Account(swarm(0, {"0": 0, "1": 0}, {}))
    account.accept(post(5, {"🔥": 1}, partition=1))
    account.count(swarm(1, {"0": 9, "1": 5}, {}))
    account.match()
    assert account.in_flight == 1
    account.count(swarm(2, {"0": 9, "1": 6}, {"🔥": 1}))
    account.accept(post(3, {"🔥": 1}, partition=0))
    account.match()
    assert account.in_flight == 0


def test_a_reaction_is_timed_by_the_swarm_that_covers_its_record() -> None:
    account = Account(swarm(0, {"0": 0}, {}))
    account.count(swarm(1, {"0": 5}, {}))
    account.count(swarm(2, {"0": 10}, {}))
    account.accept(post(4, {"🔥": 1}, posted_ms=1_000))
    account.match()
    account.latencies.seen(1, 2_500)
    account.latencies.seen(2, 9_000)
    account.latencies.settle(20_000)
    assert account.latencies.percentile_ms(100) == 1_500


@given(
    posts=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2_000)), min_size=1),
    arrivals=st.lists(st.tuples(st.integers(1, 3), st.integers(2_000, 4_000)), min_size=1),
    settle_after=st.integers(0, 20),
    percent=st.sampled_from([1, 50, 99, 100]),
)
def test_percentiles_are_those_of_every_pair_whenever_swarms_are_settled(
    posts: list[tuple[int, int]], arrivals: list[tuple[int, int]], settle_after: int, percent: float
) -> None:
    latencies = Latencies()
    for index, (sequence, at_ms) in enumerate(arrivals):
        latencies.seen(sequence, at_ms)
        if index == settle_after:
            latencies.settle(now_ms=10_000)
    for sequence, at_ms in posts:
        latencies.posted(sequence, at_ms, reactions=1)
    latencies.settle(now_ms=10_000)
    every_pair = sorted(seen - posted for s, seen in arrivals for p, posted in posts if s == p)
    if every_pair:
        rank = max(0, -int(-len(every_pair) * percent // 100) - 1)
        assert latencies.percentile_ms(percent) == every_pair[rank]
    else:
        assert latencies.percentile_ms(percent) is None


def test_an_arrival_past_the_horizon_counts_as_that_late() -> None:
    latencies = Latencies()
    latencies.posted(1, 0, reactions=1)
    latencies.seen(1, 100)
    latencies.settle(HORIZON_MS + 1_000)
    latencies.seen(1, HORIZON_MS + 5_000)
    assert latencies.percentile_ms(50) == 100
    assert latencies.percentile_ms(100) == HORIZON_MS


def test_only_strangers_are_counted_as_others_and_junk_is_nobodys() -> None:
    records = [
        model.encode([model.Reaction("crowd-1-7", "🔥", 1), model.Reaction("ada", "🎉", 1)]),
        b"junk",
        b'{"user_id": "ada"}',
    ]
    assert sent_by_others(records, "crowd-1-") == Counter({"🎉": 1})
