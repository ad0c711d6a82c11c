"""Each batch begins where the last swarm ended. Totals never fall, windows never overlap, doubt stops the start."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream.errors import EmoStreamError
from emostream.model import EventPart, Swarm, Window
from emostream.swarms.rules import (
    RECOVERY_COMMAND,
    Batch,
    Changes,
    Compression,
    Group,
    NotASwarmError,
    ReactionsTopic,
    changed_swarm,
    first_swarm,
    next_swarm,
    offsets_without_record,
    progress_of,
    read_record,
    starting_offsets,
    unknown_events,
)

TOPIC = ReactionsTopic("topic-1", beginnings={0: 0, 1: 5}, ends={0: 100, 1: 50})
EVERY_THOUSAND = Compression(1_000, "ceil")


def first() -> Swarm:
    return first_swarm("s", TOPIC, None)


def follow(previous: Swarm, batch: Batch, now_ms: int = 10_000, trigger_ms: int = 2_000) -> Swarm:
    return next_swarm(previous, batch, now_ms, trigger_ms, EVERY_THOUSAND)


def test_a_stream_begins_with_a_record_that_counts_nothing() -> None:
    record = first()
    assert (record.id, record.sequence, record.reactions, record.window) == ("s-0", 0, 0, Window(0, 0))
    assert progress_of(record) == model.Progress("topic-1", {"0": 0, "1": 5}, 0)


def test_a_batch_becomes_the_next_swarm() -> None:
    groups = [Group(0, "🔥", 3, 2, 0, 1), Group(1, "🔥", 1_000, 1, 5, 5), Group(1, "👏", 1, 1, 6, 6)]
    swarm = follow(first(), Batch({0: 2, 1: 7}, groups, dead_letters=0))
    assert swarm == Swarm(
        id="s-1",
        sequence=1,
        window=Window(8_000, 10_000),
        reactions=1_004,
        counts={"🔥": 1_003, "👏": 1},
        swarm={"🔥": 2, "👏": 1},
        totals={"🔥": 1_003, "👏": 1},
        progress=model.Progress("topic-1", {"0": 2, "1": 7}),
    )


def test_records_without_reactions_are_covered_and_dead_letters_counted() -> None:
    batch = Batch({0: 4}, [Group(0, None, 0, 3, 0, 2), Group(0, None, 0, 1, 3, 3)], dead_letters=1)
    swarm = follow(first(), batch)
    assert (swarm.reactions, swarm.counts, swarm.totals) == (0, {}, {})
    assert progress_of(swarm) == model.Progress("topic-1", {"0": 4, "1": 5}, 1)


def test_a_new_partition_is_counted_from_its_beginning() -> None:
    swarm = follow(first(), Batch({0: 0, 1: 5, 2: 1}, [Group(2, "🔥", 1, 1, 0, 0)]))
    assert progress_of(swarm).offsets == {"0": 0, "1": 5, "2": 1}


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(Group(1, "🔥", 1, 1, 4, 5), id="before the last swarm's end"),
        pytest.param(Group(1, "🔥", 1, 1, 6, 7), id="behind the batch's own end"),
        pytest.param(Group(2, "🔥", 1, 1, 0, 0), id="of a partition that was not planned"),
    ],
)
def test_a_batch_that_does_not_begin_where_the_last_ended_is_refused(group: Group) -> None:
    with pytest.raises(EmoStreamError, match=f"partition {group.partition}"):
        follow(first(), Batch({0: 0, 1: 7}, [group]))


def test_offsets_without_a_record_are_counted() -> None:
    batch = Batch({0: 10, 1: 5}, [Group(0, "🔥", 8, 4, 0, 8), Group(0, None, 0, 1, 3, 3)])
    assert offsets_without_record(first(), batch) == 5
    assert progress_of(follow(first(), batch)).offsets == {"0": 10, "1": 5}


def test_windows_do_not_overlap_when_the_clock_is_set_back() -> None:
    swarm = follow(first(), Batch({}, []), now_ms=10_000)
    late = follow(swarm, Batch({}, []), now_ms=10_500)
    back = follow(late, Batch({}, []), now_ms=3_000)
    assert [each.window for each in (swarm, late, back)] == [
        Window(8_000, 10_000),
        Window(10_000, 10_500),
        Window(10_500, 10_500),
    ]


@pytest.mark.parametrize(
    ("rule", "shown"),
    [("ceil", {1: 1, 999: 1, 1_000: 1, 1_001: 2}), ("floor", {1: 1, 999: 1, 1_999: 1, 2_000: 2})],
)
def test_compression(rule: str, shown: dict[int, int]) -> None:
    compression = Compression(1_000, rule)  # type: ignore[arg-type]
    assert {count: compression.of(count) for count in shown} == shown


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_compression_shows_every_emoji_and_never_more_than_there_are(count: int, ratio: int) -> None:
    floor, ceil = (Compression(ratio, rule).of(count) for rule in ("floor", "ceil"))  # type: ignore[arg-type]
    assert 1 <= floor <= ceil <= count
    assert ceil * ratio >= count


@st.composite
def batches(draw: st.DrawFn) -> list[list[tuple[int, str, int]]]:
    """Batches of records; a record is its partition, an emoji and how often."""
    record = st.tuples(st.integers(0, 2), st.sampled_from("🔥👏😂"), st.integers(1, 2_000))
    return draw(st.lists(st.lists(record, max_size=5), max_size=8))


@given(batches(), st.lists(st.integers(0, 10**6), min_size=8, max_size=8))
def test_whatever_the_batches_every_reaction_is_in_one_swarm(
    rounds: list[list[tuple[int, str, int]]], clocks: list[int]
) -> None:
    swarms = [first_swarm("s", ReactionsTopic("topic-1", {0: 0, 1: 0}, {0: 0, 1: 0}), None)]
    ends = {0: 0, 1: 0, 2: 0}
    for records, now_ms in zip(rounds, clocks, strict=False):
        groups = []
        for partition, emoji, reactions in records:
            groups.append(Group(partition, emoji, reactions, 1, ends[partition], ends[partition]))
            ends[partition] += 1
        batch = Batch(dict(ends), groups)
        assert offsets_without_record(swarms[-1], batch) == 0
        swarms.append(follow(swarms[-1], batch, now_ms))
    sent = sum(reactions for records in rounds for _, _, reactions in records)
    assert sum(swarm.reactions for swarm in swarms) == sum(swarms[-1].totals.values()) == sent
    assert [swarm.sequence for swarm in swarms] == list(range(len(swarms)))
    for earlier, later in itertools.pairwise(swarms):
        assert earlier.window.end <= later.window.start <= later.window.end
        assert all(later.totals[emoji] >= total for emoji, total in earlier.totals.items())
        assert later == read_record(model.encode(later))


def test_going_on_begins_where_the_last_swarm_ended() -> None:
    last = follow(first(), Batch({0: 7, 1: 5}, []))
    topic = ReactionsTopic("topic-1", {0: 3, 1: 5, 2: 0}, {0: 100, 1: 50, 2: 9})
    assert starting_offsets(last, topic) == {0: 7, 1: 5, 2: 0}


@pytest.mark.parametrize(
    ("last", "topic", "reason"),
    [
        pytest.param(None, TOPIC, "is empty", id="empty"),
        pytest.param(first(), ReactionsTopic("topic-2", {0: 0}, {0: 0}), "recreated", id="another topic"),
        pytest.param(
            first(), ReactionsTopic("topic-1", {0: 10, 1: 5}, {0: 20, 1: 5}), "deleted 10 records", id="retention"
        ),
        pytest.param(
            first(),
            ReactionsTopic("topic-1", {0: 0, 1: 5, 2: 1}, {0: 9, 1: 9, 2: 9}),
            "deleted 1 records",
            id="new one",
        ),
        pytest.param(first(), ReactionsTopic("topic-1", {0: 0, 1: 0}, {0: 0, 1: 4}), "broker lost", id="truncated"),
    ],
)
def test_where_going_on_would_lose_reactions_the_start_stops_with_the_command_that_recovers(
    last: Swarm | None, topic: ReactionsTopic, reason: str
) -> None:
    with pytest.raises(EmoStreamError, match=reason) as stopped:
        starting_offsets(last, topic)
    assert RECOVERY_COMMAND in str(stopped.value)


def test_a_new_stream_over_the_same_topic_counts_nothing_again() -> None:
    last = follow(first(), Batch({0: 7, 1: 20}, []))
    topic = ReactionsTopic("topic-1", {0: 9, 1: 5, 2: 0}, {0: 100, 1: 18, 2: 3})
    record = first_swarm("t", topic, last)
    assert (record.id, progress_of(record).offsets) == ("t-0", {"0": 9, "1": 18, "2": 0})
    assert starting_offsets(record, topic) == {0: 9, 1: 18, 2: 0}


def test_a_new_stream_over_another_topic_begins_at_its_beginning() -> None:
    last = follow(first(), Batch({0: 7, 1: 20}, []))
    record = first_swarm("t", ReactionsTopic("topic-2", {0: 2}, {0: 100}), last)
    assert progress_of(record).offsets == {"0": 2}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        b'{"type":"goodbye"}',
        model.encode(msgspec.structs.replace(first(), progress=msgspec.UNSET)),
        model.encode(msgspec.structs.replace(first(), id="no number")),
    ],
)
def test_a_record_that_no_aggregator_wrote_is_refused(value: bytes) -> None:
    with pytest.raises(NotASwarmError, match=RECOVERY_COMMAND):
        read_record(value)


def open_event(previous: Swarm, event: str, stream: str = "e1") -> Swarm:
    return changed_swarm(previous, Changes({event: stream}), 10_000, 2_000)


def test_events_are_counted_apart_with_contiguous_sequences_of_their_own() -> None:
    opened = open_event(first(), "final")
    assert opened.parts == {"final": EventPart("e1", 0, {})}
    groups = [Group(0, "🔥", 3, 1, 0, 0), Group(0, "🔥", 1_001, 1, 1, 1, "final")]
    swarm = follow(opened, Batch({0: 2}, groups))
    assert (swarm.sequence, swarm.reactions, swarm.counts, swarm.totals) == (2, 3, {"🔥": 3}, {"🔥": 3})
    assert swarm.parts == {"final": EventPart("e1", 1, {"🔥": 1_001}, {"🔥": 1_001}, {"🔥": 2})}
    # A batch without a reaction to the event keeps its sequence and totals.
    later = follow(swarm, Batch({0: 3}, [Group(0, "👏", 1, 1, 2, 2)]))
    assert later.parts == {"final": EventPart("e1", 1, {"🔥": 1_001})}


def test_a_record_without_other_events_is_that_of_before() -> None:
    opened = open_event(first(), "final")
    ended = changed_swarm(opened, Changes(ended=frozenset({"final"})), 10_000, 2_000)
    archived = changed_swarm(ended, Changes(archived=frozenset({"final"})), 10_000, 2_000)
    assert archived.sequence == 3
    assert b"events" not in model.encode(archived)
    assert b"events" not in model.encode(follow(archived, Batch({0: 1}, [Group(0, "🔥", 1, 1, 0, 0)])))


def test_an_end_follows_the_last_swarm_and_what_comes_later_ends_anew() -> None:
    counted = follow(open_event(first(), "final"), Batch({0: 1}, [Group(0, "🔥", 1, 1, 0, 0, "final")]))
    ended = changed_swarm(counted, Changes(ended=frozenset({"final"})), 10_000, 2_000)
    window = Window(0, 1)
    (end,) = ended.parts["final"].messages(window)
    assert end == model.End("e1-2", 2, {"🔥": 1})
    late = follow(ended, Batch({0: 2}, [Group(0, "👏", 2, 1, 1, 1, "final")]))
    assert late.parts["final"].messages(window) == [
        Swarm("e1-3", 3, window, 2, {"👏": 2}, {"👏": 1}, {"👏": 2}),
        model.End("e1-4", 4, {"🔥": 1, "👏": 2}),
    ]
    assert follow(late, Batch({0: 3}, [])).parts["final"].messages(window) == [model.End("e1-4", 4, {"🔥": 1, "👏": 2})]


def test_reactions_to_an_event_that_the_record_does_not_hold_are_not_counted() -> None:
    opened = open_event(first(), "final")
    groups = [Group(0, "🔥", 3, 1, 0, 0, "gone"), Group(0, "🔥", 1, 1, 1, 1, "final"), Group(0, "🔥", 1, 1, 2, 2)]
    assert unknown_events(opened, groups) == {"gone"}
    swarm = follow(opened, Batch({0: 3}, groups, dead_letters=1))
    assert (swarm.totals, swarm.parts["final"].totals, progress_of(swarm).dead_letters) == ({"🔥": 1}, {"🔥": 1}, 1)


def test_events_go_on_in_a_new_stream() -> None:
    counted = follow(open_event(first(), "final"), Batch({0: 1}, [Group(0, "🔥", 1, 1, 0, 0, "final")]))
    record = first_swarm("t", TOPIC, counted)
    assert (record.id, record.totals, record.parts) == ("t-0", {}, {"final": EventPart("e1", 1, {"🔥": 1})})
