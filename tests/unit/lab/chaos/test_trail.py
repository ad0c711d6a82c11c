"""Tests that the trail reports every wrong record and no correct one."""

import itertools

import msgspec
import pytest

from emostream import model
from emostream_lab.chaos.trail import Trail

RECORD = model.encode([model.Reaction("u1", "🔥", 0)])


def swarm(sequence: int, count: int, total: int, *, start: int | None = None, offset: int | None = None) -> model.Swarm:
    """Return one swarm of a series with windows of 10 ms and one record of `reactions` in each."""
    end = 10 * sequence
    return model.Swarm(
        id=f"s-{sequence}",
        sequence=sequence,
        window=model.Window(end - 10 if start is None else start, end),
        reactions=count,
        counts={"🔥": count},
        swarm={"🔥": 1},
        totals={"🔥": total},
        progress=model.Progress("topic", {"0": sequence if offset is None else offset}),
    )


@pytest.fixture
def trail() -> Trail:
    """Return a trail that has read three records of `reactions` with one reaction each."""
    seconds = itertools.count()
    trail = Trail(swarm(0, 0, 0), ["cluster1"], lambda: float(next(seconds)))
    for offset in range(3):
        trail.read_reactions(0, offset, RECORD)
    trail.read_up_to(0, 3)
    return trail


def found(trail: Trail) -> list[str]:
    return [wrong.what for wrong in trail.wrongs]


def test_nothing_is_wrong_with_what_follows_and_adds_up(trail: Trail) -> None:
    for each in (swarm(1, 1, 1), swarm(2, 1, 2), swarm(3, 1, 3)):
        trail.read_swarm(each)
        trail.read_relayed("cluster1", each)
    assert found(trail) == []
    assert trail.came_to_ms == 30
    assert trail.newest.sequence == 3


def test_repeats_in_a_clusters_topic_are_dropped_as_subscribers_do(trail: Trail) -> None:
    for sequence in (1, 2, 1, 2, 3):
        trail.read_relayed("cluster1", swarm(sequence, 1, sequence))
    assert found(trail) == []
    assert trail.repeats == 2


def test_flow_has_come_as_far_as_the_topic_that_lags_most(trail: Trail) -> None:
    trail.read_swarm(swarm(1, 1, 1))
    assert trail.came_to_ms == 0
    trail.read_relayed("cluster1", swarm(1, 1, 1))
    assert trail.came_to_ms == 10


def test_a_sequence_that_is_left_out_or_there_twice_is_wrong(trail: Trail) -> None:
    trail.read_relayed("cluster1", swarm(2, 1, 1))
    trail.read_swarm(swarm(1, 1, 1))
    trail.read_swarm(swarm(1, 0, 1, offset=1))
    assert found(trail) == ["in cluster1, s-2 follows s-0", "in swarms, s-1 follows s-1"]


def test_totals_that_fall_or_leap_are_wrong(trail: Trail) -> None:
    trail.read_swarm(swarm(1, 1, 2))
    trail.read_swarm(swarm(2, 1, 1))
    assert [what for what in found(trail) if "totals" in what] == [
        "in swarms, the totals of s-1 are not those before it and its counts",
        "in swarms, the totals of s-2 are not those before it and its counts",
    ]


def test_windows_that_overlap_are_wrong(trail: Trail) -> None:
    trail.read_swarm(swarm(1, 1, 1))
    trail.read_swarm(swarm(2, 1, 2, start=5))
    assert found(trail) == ["in swarms, the window of s-2 begins before that of s-1 ends"]


def test_reactions_that_are_not_counted_or_twice_are_found_once_both_sides_are_read(trail: Trail) -> None:
    trail.read_swarm(swarm(1, 0, 0))
    trail.read_swarm(swarm(2, 2, 2))
    [lost, doubled] = trail.wrongs
    assert (lost.lost, lost.doubled) == (1, 0)
    assert (doubled.lost, doubled.doubled) == (0, 1)
    assert "s-1 counts 1 reactions too few" in lost.what


def test_dead_letters_are_counted_by_what_they_hold(trail: Trail) -> None:
    for value in (b"junk 0", b"junk 1", b"junk 1"):
        trail.read_dead_letter(value)
    assert trail.dead_letters == {b"junk 0": 1, b"junk 1": 2}


def part(sequence: int, total: int, count: int = 0, *, stream: str = "a", ended: bool = False) -> model.EventPart:
    counts = {"🔥": count} if count else {}
    return model.EventPart(stream, sequence, {"🔥": total} if total else {}, counts, counts, ended)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, part(0, 0)),
        (part(3, 5), part(4, 7, 2)),
        (part(4, 7, 2), part(4, 7)),
        (part(4, 7), part(5, 7, ended=True)),
        (part(5, 7, ended=True), part(5, 7, ended=True)),
        (part(5, 7, ended=True), part(7, 8, 1, ended=True)),
        (part(5, 7, ended=True), part(0, 0, stream="b")),
    ],
)
def test_an_event_goes_on_so(trail: Trail, before: model.EventPart | None, after: model.EventPart) -> None:
    assert follow(trail, before, after) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (part(3, 5), None),
        (None, part(1, 1, 1)),
        (part(3, 5), part(5, 7, 2)),
        (part(3, 5), part(3, 7, 2)),
        (part(3, 5), part(4, 8, 2)),
        (part(3, 5), part(3, 5, ended=True)),
        (part(5, 7, ended=True), part(5, 7)),
        (part(5, 7, ended=True), part(6, 8, 1, ended=True)),
        (part(5, 7, ended=True), part(0, 7, stream="b")),
    ],
)
def test_an_event_that_does_not_go_on_so_is_wrong(
    trail: Trail, before: model.EventPart | None, after: model.EventPart | None
) -> None:
    assert follow(trail, before, after) == ["in cluster1, final of s-2 does not follow final of s-1"]


def follow(trail: Trail, before: model.EventPart | None, after: model.EventPart | None) -> list[str]:
    """Return what is wrong where this record of the event follows that one."""
    for sequence, of_final in ((1, before), (2, after)):
        events = {} if of_final is None else {"final": of_final}
        trail.read_relayed("cluster1", msgspec.structs.replace(swarm(sequence, 1, sequence), events=events))
        if sequence == 1:
            trail.wrongs.clear()
    return found(trail)
