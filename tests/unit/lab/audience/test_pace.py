"""Tests that the crowd sends single taps, several taps after a goal, and no reaction twice."""

from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.audience.pace import People, is_goal


def first(choices: tuple[str, ...]) -> str:
    return choices[0]


def test_goals_fall_now_and_then_and_are_celebrated_for_three_seconds() -> None:
    goals = [second for second in range(60) if is_goal(second)]
    assert goals == [10, 11, 12, 30, 31, 32, 50, 51, 52]


def test_in_joy_one_person_sends_five_taps_of_one_emoji_at_once() -> None:
    people = People("crowd-1-", first)
    assert len(people.taps(5, now_ms=0)) == 1
    joy = people.taps(11, now_ms=0)
    assert len(joy) == 5
    assert len({tap.emoji_type for tap in joy}) == 1


@given(moments=st.lists(st.floats(0, 60), max_size=200))
def test_user_and_timestamp_tell_each_reaction_from_all_others(moments: list[float]) -> None:
    people = People("crowd-1-", first)
    taps = [tap for moment in moments for tap in people.taps(moment, now_ms=int(moment * 1000))]
    assert len({(tap.user_id, tap.timestamp) for tap in taps}) == len(taps)
    assert all(tap.user_id.startswith("crowd-1-") for tap in taps)
