"""An account is exact only if every reaction is counted once and every viewer saw every swarm once."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.account.account import Account, RunAccount

counts = st.dictionaries(st.sampled_from("🔥❤😂👏"), st.integers(1, 1_000_000), min_size=1)
GOOD = Account(
    accepted={"🔥": 100}, by_totals={"🔥": 100}, by_swarms={"🔥": 100}, viewers=10, delivered=500, expected=500
)


def counted(counts: dict[str, int]) -> Account:
    return Account(by_totals=counts, by_swarms=counts)


def but(**wrong: Any) -> Account:
    return msgspec.structs.replace(GOOD, **wrong)


def test_what_was_accepted_and_counted_is_neither_lost_nor_doubled() -> None:
    account = Account(accepted={"🔥": 2, "🎉": 1}) + counted({"🔥": 2, "🎉": 1})
    assert not account.lost
    assert not account.doubled
    assert account.problems() == []


@given(counts, counts, st.integers(1, 4), st.data())
def test_it_is_exact_where_all_accepted_and_at_most_the_unknown_besides_are_counted(
    accepted: dict[str, int], unknown: dict[str, int], workers: int, data: st.DataObject
) -> None:
    parts = [Account(accepted=accepted, unknown=unknown, refused={"🔥": 5}) for _ in range(workers)]
    total = {
        emoji: workers * accepted.get(emoji, 0) + data.draw(st.integers(0, workers * unknown.get(emoji, 0)))
        for emoji in accepted | unknown
    }
    whole = sum(parts, counted({emoji: count for emoji, count in total.items() if count}))
    assert whole.problems() == []


@given(counts, st.integers(1, 100), st.data())
def test_one_emoji_lost_is_not_made_good_by_another_one_doubled(
    accepted: dict[str, int], wrong: int, data: st.DataObject
) -> None:
    emoji = data.draw(st.sampled_from(sorted(accepted)))
    moved = {**accepted, emoji: accepted[emoji] - min(wrong, accepted[emoji]), "🎉": min(wrong, accepted[emoji])}
    whole = Account(accepted=accepted) + counted({key: count for key, count in moved.items() if count})
    assert whole.lost == {emoji: min(wrong, accepted[emoji])}
    assert whole.doubled == {"🎉": min(wrong, accepted[emoji])}
    assert len(whole.problems()) == 2


def test_what_others_sent_is_expected_too() -> None:
    assert counted({"🔥": 3}).doubled == {"🔥": 3}
    assert not (counted({"🔥": 3}) + Account(others={"🔥": 3})).doubled
    assert (counted({"🔥": 3}) + Account(others={"🔥": 4})).lost == {"🔥": 1}


@given(st.lists(counts), st.lists(counts))
def test_parts_add_up_in_any_grouping(some: list[dict[str, int]], more: list[dict[str, int]]) -> None:
    one, other = ([Account(accepted=each, viewers=1, gaps=2) for each in parts] for parts in (some, more))
    whole = sum([*one, *other], Account())
    assert sum(one, Account()) + sum(other, Account()) == whole
    assert (whole.viewers, whole.gaps) == (len(some) + len(more), 2 * (len(some) + len(more)))
    assert sum(whole.accepted.values()) == sum(sum(each.values()) for each in [*some, *more])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repeats": 2}, "a second time"),
        ({"unequal": 1}, "not the same for all"),
        ({"behind": 3}, "did not get the last"),
        ({"in_flight": 7}, "7 accepted reactions were never seen by a viewer"),
        ({"by_swarms": {"🔥": 99}}, "in no swarm"),
    ],
)
def test_whatever_is_wrong_under_faults_too_is_a_problem(wrong: dict[str, Any], said: str) -> None:
    for under_faults in (False, True):
        [problem] = but(**wrong).problems(under_faults=under_faults)
        assert said in problem


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gaps": 1}, "after one that never came"),
        ({"resets": 1}, "told that it had missed"),
        ({"delivered": 499}, "got 499 swarms, and 500 lie"),
    ],
)
def test_what_faults_explain_is_a_problem_of_a_calm_run_alone(wrong: dict[str, Any], said: str) -> None:
    [problem] = but(**wrong).problems()
    assert said in problem
    assert but(**wrong).problems(under_faults=True) == []


def test_swarms_that_a_reset_skipped_are_a_problem_in_any_run() -> None:
    assert len(but(resets=1, skipped=3).problems()) == 1
    [problem] = but(resets=1, skipped=3).problems(under_faults=True)
    assert "3 swarms were skipped" in problem


def test_more_counted_than_sent_names_the_emoji() -> None:
    [problem] = (GOOD + counted({"🔥": 1})).problems()
    assert problem == "1 reactions were counted although nobody of this run sent them: 🔥 1"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (RunAccount({"main": Account()}), "no reaction was accepted"),
        (RunAccount({"main": GOOD}, failures=2), "2 requests or streams failed"),
    ],
)
def test_what_concerns_the_run_is_a_problem_of_a_calm_run_alone(wrong: RunAccount, said: str) -> None:
    [problem] = wrong.problems()
    assert said in problem
    assert wrong.problems(under_faults=True) == []


def test_a_reaction_that_is_counted_in_another_event_is_lost_in_one_and_doubled_in_the_other() -> None:
    sent = RunAccount({"main": Account(accepted={"🔥": 2}), "final": Account(accepted={"🔥": 2})})
    whole = sent + RunAccount({"main": counted({"🔥": 3}), "final": counted({"🔥": 1})})
    assert whole.problems() == [
        "main: 1 reactions were counted although nobody of this run sent them: 🔥 1",
        "final: 1 reactions were lost: accepted and never counted: 🔥 1",
    ]
    assert (whole.lost, whole.doubled) == ({"🔥": 1}, {"🔥": 1})
    assert not whole.total.lost, "without the event nothing is missing"


def test_a_run_of_main_alone_names_no_event() -> None:
    assert RunAccount({"main": but(gaps=1)}).problems() == but(gaps=1).problems()


def test_parts_of_a_run_add_up_event_by_event() -> None:
    one, other = RunAccount({"main": GOOD}, failures=1), RunAccount({"main": GOOD, "final": but(gaps=1)}, failures=2)
    assert one + other == RunAccount({"main": GOOD + GOOD, "final": but(gaps=1)}, failures=3)
    assert (one + other).total == GOOD + GOOD + but(gaps=1)
