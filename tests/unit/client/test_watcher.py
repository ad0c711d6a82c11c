"""A watcher tells what fits from what is doubled, missing, or wrongly summed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream.client.watcher import Continuity, Watcher

WINDOW = model.Window(0, 1)


def swarm(sequence: int, total: int, count: int = 1, stream: str = "s") -> model.Swarm:
    counts = {"🔥": count}
    return model.Swarm(f"{stream}-{sequence}", sequence, WINDOW, count, counts, counts, {"🔥": total})


def snapshot(sequence: int, stream: str = "s") -> model.Snapshot:
    return model.Snapshot(f"{stream}-{sequence}", sequence, {"🔥": sequence, "👏": 9})


def reset(sequence: int, stream: str = "s") -> model.Reset:
    return model.Reset(f"{stream}-{sequence}", sequence, {"🔥": sequence})


def end(sequence: int, total: int, stream: str = "s") -> model.End:
    return model.End(f"{stream}-{sequence}", sequence, {"🔥": total, "👏": 9})


def watching(*messages: model.ViewerMessage) -> tuple[Watcher, list[Continuity]]:
    watcher = Watcher()
    return watcher, [watcher.take(message) for message in messages]


def test_it_starts_with_nothing_to_resume() -> None:
    assert Watcher().resume_id is None


def test_swarms_follow_a_snapshot() -> None:
    watcher, found = watching(snapshot(4), swarm(5, 5), swarm(6, 6))
    assert set(found) == {Continuity.FITS}
    assert (watcher.resume_id, watcher.swarms, watcher.snapshots) == ("s-6", 2, 1)
    assert watcher.totals == {"🔥": 6, "👏": 9}
    assert (watcher.gaps, watcher.repeats, watcher.mismatches, watcher.lost) == (0, 0, 0, 0)


def test_a_repeat_changes_nothing() -> None:
    watcher, found = watching(snapshot(4), swarm(5, 5), swarm(5, 5))
    assert found[-1] is Continuity.REPEAT
    assert (watcher.resume_id, watcher.swarms, watcher.repeats) == ("s-5", 1, 1)


@pytest.mark.parametrize("message", [swarm(7, 7), swarm(5, 5, stream="t")], ids=["sequence", "stream"])
def test_a_gap_leaves_the_position_for_a_resume(message: model.Swarm) -> None:
    watcher, found = watching(snapshot(4), message)
    assert found[-1] is Continuity.GAP
    assert (watcher.resume_id, watcher.gaps) == ("s-4", 1)
    watcher.take(swarm(5, 5))
    assert watcher.resume_id == "s-5"


def test_a_swarm_before_any_totals_is_a_gap() -> None:
    assert watching(swarm(1, 1))[1] == [Continuity.GAP]


def test_a_reset_tells_how_many_swarms_are_lost() -> None:
    watcher, _ = watching(snapshot(4), reset(14), swarm(15, 15))
    assert (watcher.resets, watcher.lost, watcher.resume_id) == (1, 10, "s-15")
    assert watcher.totals == {"🔥": 15}


def test_a_reset_to_another_stream_says_nothing_of_what_was_lost() -> None:
    watcher, _ = watching(snapshot(4), reset(0, "t"), swarm(1, 1, stream="t"))
    assert (watcher.lost, watcher.gaps, watcher.resume_id) == (0, 0, "t-1")


def test_totals_that_do_not_add_up_are_told() -> None:
    watcher, _ = watching(snapshot(4), swarm(5, 6))
    assert watcher.mismatches == 1


def test_a_goodbye_moves_nothing() -> None:
    assert watching(snapshot(4), model.Goodbye())[0].resume_id == "s-4"


def test_a_malformed_id_is_refused() -> None:
    with pytest.raises(ValueError, match="no id"):
        watching(model.Snapshot("nonsense", 1, {}))


def test_the_end_follows_the_last_swarm_and_is_no_swarm() -> None:
    watcher, found = watching(snapshot(4), swarm(5, 5), end(6, 5))
    assert found[-1] is Continuity.FITS
    assert (watcher.has_ended, watcher.resume_id, watcher.totals) == (True, "s-6", {"🔥": 5, "👏": 9})
    assert (watcher.swarms, watcher.expected, watcher.mismatches, watcher.lost) == (1, 1, 0, 0)


def test_an_end_before_its_last_swarm_is_a_gap() -> None:
    watcher, found = watching(snapshot(4), end(6, 5))
    assert found[-1] is Continuity.GAP
    assert (watcher.has_ended, watcher.resume_id, watcher.gaps) == (False, "s-4", 1)


def test_an_end_that_came_before_is_a_repeat() -> None:
    watcher, found = watching(snapshot(4), end(5, 4), end(5, 4))
    assert (found[-1], watcher.repeats, watcher.has_ended) == (Continuity.REPEAT, 1, True)


def test_final_totals_that_differ_from_the_swarms_are_told() -> None:
    assert watching(snapshot(4), end(5, 5))[0].mismatches == 1


@pytest.mark.parametrize("more", [swarm(6, 5), reset(0, "t")], ids=["a late swarm", "opened again"])
def test_an_event_that_goes_on_after_its_end_has_not_ended(more: model.ViewerMessage) -> None:
    watcher, found = watching(snapshot(4), end(5, 4), more)
    assert (found[-1], watcher.has_ended) == (Continuity.FITS, False)


@given(st.integers(0, 20), st.lists(st.integers(1, 40)))
def test_whatever_comes_only_the_next_swarm_is_taken(first: int, sequences: list[int]) -> None:
    watcher, _ = watching(snapshot(first))
    seen = [sequence for sequence in sequences if watcher.take(swarm(sequence, sequence)) is Continuity.FITS]
    assert seen == list(range(first + 1, first + 1 + len(seen)))
    assert watcher.swarms + watcher.repeats + watcher.gaps == len(sequences)
    assert watcher.mismatches == 0
    assert watcher.expected == watcher.swarms


def test_a_jump_of_the_server_is_not_expected() -> None:
    watcher, _ = watching(snapshot(4), swarm(5, 5), reset(14), swarm(15, 15), reset(0, "t"), swarm(1, 1, stream="t"))
    assert (watcher.expected, watcher.lost) == (3, 9)
