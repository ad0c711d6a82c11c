"""What the history keeps, what it drops, and which swarm counts a reaction."""

import pytest

from emostream.subscriber.history import Change, History
from tests.unit.subscriber.examples import entry


def filled(stream: str, sequences: range, **bounds: int) -> History:
    history = History(**{"keep_ms": 10**9, "max_bytes": 10**9, **bounds})
    for sequence in sequences:
        history.append(entry(stream, sequence), {"🔥": sequence}, 0)
    return history


def sequences_after(history: History, sequence: int, max_bytes: int = 10**9) -> list[int]:
    return [found.sequence for found in history.after(sequence, max_bytes)]


def test_swarms_come_back_in_order_after_any_that_is_held() -> None:
    history = filled("s", range(5, 9))
    assert history.can_resume(("s", 4))
    assert sequences_after(history, 4) == [5, 6, 7, 8]
    assert sequences_after(history, 7) == [8]
    assert sequences_after(history, 8) == []


@pytest.mark.parametrize("position", [("s", 3), ("other", 6), None])
def test_what_is_too_far_back_or_of_another_stream_cannot_resume(position: tuple[str, int] | None) -> None:
    assert not filled("s", range(5, 9)).can_resume(position)


def test_a_viewer_that_is_ahead_can_resume_and_gets_nothing_yet() -> None:
    history = filled("s", range(5, 9))
    assert history.can_resume(("s", 99))
    assert sequences_after(history, 99) == []


def test_nothing_can_resume_from_an_empty_history() -> None:
    assert not filled("s", range(0)).can_resume(("s", 0))


@pytest.mark.parametrize("late", [("s", 5), ("s", 8), ("r", 9), ("r", 99)])
def test_a_repeat_and_a_stream_that_is_over_change_nothing(late: tuple[str, int]) -> None:
    history = filled("s", range(5, 9))
    assert history.append(entry(*late), {"🔥": 0}, 0) is Change.REPEAT
    assert history.state is not None
    assert history.state.totals == {"🔥": 8}
    assert len(history) == 4


@pytest.mark.parametrize(("stream", "change"), [("s", Change.GAP), ("t", Change.NEW_STREAM)])
def test_a_gap_or_a_new_stream_starts_anew(stream: str, change: Change) -> None:
    history = filled("s", range(5, 9))
    newest = entry(stream, 20)
    assert history.append(newest, {"🔥": 20}, 0) is change
    assert sequences_after(history, 19) == [20]
    assert history.can_resume((stream, 19))
    assert not history.can_resume(("s", 8))
    assert history.size_bytes == newest.size_bytes


def test_what_is_older_than_its_time_goes_but_the_state_stays() -> None:
    history = History(keep_ms=1_000, max_bytes=10**9)
    for sequence, now_ms in enumerate((0, 500, 1_400)):
        history.append(entry("s", sequence), {"🔥": sequence}, now_ms)
    assert not history.can_resume(("s", -1))
    assert sequences_after(history, 0) == [1, 2]
    history.append(entry("s", 3), {"🔥": 3}, 9_000)
    assert len(history) == 1
    assert history.state is not None
    assert history.state.position == ("s", 3)
    assert history.can_resume(("s", 2))
    assert not history.can_resume(("s", 1))


@pytest.mark.parametrize("timestamp_ms", [0, 10**15])
def test_what_the_clocks_of_other_machines_say_does_not_matter(timestamp_ms: int) -> None:
    history = History(keep_ms=1_000, max_bytes=10**9)
    for sequence, now_ms in ((1, 10**12), (2, 10**12 + 900), (3, 10**12 + 1_100)):
        history.append(entry("s", sequence, timestamp_ms=timestamp_ms), {"🔥": sequence}, now_ms)
    assert sequences_after(history, 1) == [2, 3]
    assert not history.can_resume(("s", 0))


def test_a_history_that_began_anew_is_kept_for_its_time() -> None:
    history = History(keep_ms=1_000, max_bytes=10**9)
    history.append(entry("s", 1), {"🔥": 1}, 0)
    history.append(entry("t", 1), {"🔥": 1}, 900)
    history.append(entry("t", 2), {"🔥": 2}, 1_500)
    assert sequences_after(history, 0) == [1, 2]


def test_what_is_too_much_goes_oldest_first() -> None:
    three = 3 * entry("s", 10).size_bytes
    history = filled("s", range(10, 20), max_bytes=three)
    assert history.size_bytes <= three
    assert sequences_after(history, 16) == [17, 18, 19]
    assert not history.can_resume(("s", 15))


def test_a_replay_is_cut_to_size_but_never_to_nothing() -> None:
    history = filled("s", range(10, 20))
    assert sequences_after(history, 12, max_bytes=1) == [13]
    assert sequences_after(history, 12, max_bytes=2 * len(entry("s", 13).frames.sse)) == [13, 14]


def test_all_who_get_a_snapshot_share_its_bytes() -> None:
    state = filled("s", range(3)).state
    assert state is not None
    assert state.snapshot is state.snapshot
    assert b'"snapshot"' in state.snapshot.sse
    assert b'"reset"' in state.reset.ws


@pytest.mark.parametrize(
    ("offset", "sequence"),
    [
        (49, None),  # counted by swarm 5 or an earlier one: the history does not know
        (50, 6),
        (59, 6),
        (60, 7),
        (79, 8),
        (80, None),  # not counted yet
    ],
)
def test_the_swarm_that_counts_a_record_is_found(offset: int, sequence: int | None) -> None:
    found = filled("s", range(5, 9)).covering("0", offset)
    assert (found and found.sequence) == sequence


def test_the_beginning_of_the_oldest_swarm_is_known_from_the_one_before_it() -> None:
    history = filled("s", range(5, 9), max_bytes=3 * entry("s", 5).size_bytes)
    found = history.covering("0", 50)
    assert found is not None
    assert found.sequence == 6


def test_a_partition_that_is_new_begins_at_nothing() -> None:
    assert filled("s", range(5, 9)).covering("7", 0) is None


def test_a_swarm_of_dead_letters_alone_counts_its_records() -> None:
    history = filled("s", range(5, 7))
    history.append(entry("s", 7, counted=60), {}, 0)
    history.append(entry("s", 8, counted=61), {}, 0)
    found = history.covering("0", 60)
    assert found is not None
    assert found.sequence == 8
