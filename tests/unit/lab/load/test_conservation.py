"""The verdict is good only if every reaction is counted once and every viewer saw every swarm once."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.load.conservation import Count, Report, Seen, Sent, judge

counts = st.dictionaries(st.sampled_from("🔥❤😂👏"), st.integers(1, 1_000_000), min_size=1)
SEEN = Seen(viewers=10, deliveries=500, expected=500)


def report(sent: Sent | None = None, seen: Seen = SEEN) -> Report:
    return Report(worker="worker-1", sequence=60, sent=sent or Sent({"🔥": 100}, {}, {}), seen=seen)


def counted(counts: dict[str, int]) -> Count:
    return Count(by_totals=counts, by_swarms=counts)


@given(counts, counts, st.integers(1, 4), st.data())
def test_it_holds_where_all_accepted_and_at_most_the_unknown_besides_are_counted(
    accepted: dict[str, int], unknown: dict[str, int], workers: int, data: st.DataObject
) -> None:
    reports = [report(Sent(accepted, unknown, {"🔥": 5})) for _ in range(workers)]
    total = {
        emoji: workers * accepted.get(emoji, 0) + data.draw(st.integers(0, workers * unknown.get(emoji, 0)))
        for emoji in accepted | unknown
    }
    verdict = judge(reports, counted({emoji: count for emoji, count in total.items() if count}))
    assert verdict.is_good, verdict.problems
    assert verdict.line.startswith("conservation holds: accepted")


@given(counts, st.integers(1, 100), st.data())
def test_one_emoji_lost_is_not_made_good_by_another_one_doubled(
    accepted: dict[str, int], wrong: int, data: st.DataObject
) -> None:
    emoji = data.draw(st.sampled_from(sorted(accepted)))
    moved = {**accepted, emoji: accepted[emoji] - min(wrong, accepted[emoji]), "🎉": min(wrong, accepted[emoji])}
    verdict = judge([report(Sent(accepted, {}, {}))], counted({key: count for key, count in moved.items() if count}))
    assert len(verdict.problems) == 2
    assert "FAILED" in verdict.line


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gaps": 1}, "after one that never came"),
        ({"repeats": 2}, "a second time"),
        ({"unequal": 1}, "not the same for all"),
        ({"resets": 1}, "told that it had missed"),
        ({"behind": 3}, "did not get the last"),
        ({"deliveries": 499}, "got 499 swarms, and 500 lie"),
    ],
)
def test_whatever_a_viewer_missed_or_saw_twice_is_a_problem(wrong: dict[str, Any], said: str) -> None:
    seen = msgspec.structs.replace(SEEN, **wrong)
    [problem] = judge([report(seen=seen)], counted({"🔥": 100})).problems
    assert said in problem


def test_more_counted_than_sent_names_the_emoji() -> None:
    [problem] = judge([report()], counted({"🔥": 101})).problems
    assert problem == "1 reactions were counted although nobody of this run sent them: 🔥 1"


def test_totals_and_swarms_must_tell_the_same() -> None:
    [problem] = judge([report()], Count(by_totals={"🔥": 100}, by_swarms={"🔥": 99})).problems
    assert "in no swarm" in problem


def test_a_lost_worker_makes_the_run_invalid() -> None:
    [problem] = judge([report()], counted({"🔥": 100}), lost_workers=["loadgen1_2"]).problems
    assert "loadgen1_2" in problem
    assert "invalid" in problem


def test_reactions_that_no_viewer_saw_and_failed_requests_are_problems() -> None:
    unseen = msgspec.structs.replace(report(), unseen=7, failures=2)
    assert judge([unseen], counted({"🔥": 100})).problems == [
        "7 accepted reactions were never seen by a viewer",
        "2 requests or streams failed",
    ]
