"""The ledger finds each loss and each doubling, in whatever order records and swarms are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.audit.ledger import Ledger, counts_of
from emostream.errors import EmoStreamError
from emostream.model import Counts, EventPart, Progress, Reaction, Swarm, Window, encode

BEGINNING = Swarm("s-0", 0, Window(0, 0), 0, {}, {}, {}, Progress("topic", {"0": 0, "1": 0}))


def swarm(sequence: int, totals: Counts, ends: dict[str, int], stream: str = "s") -> Swarm:
    return Swarm(
        f"{stream}-{sequence}", sequence, Window(0, 0), sum(totals.values()), {}, {}, totals, Progress("topic", ends)
    )


def written(*records: tuple[int, Counts]) -> Ledger:
    """A ledger that has read these records, each with the next offset of its partition."""
    ledger = Ledger(BEGINNING)
    for partition, counts in records:
        ledger.write(partition, ledger.position(partition), counts)
        ledger.read(partition, ledger.position(partition) + 1)
    return ledger


def test_all_is_well_when_the_totals_are_what_was_written() -> None:
    ledger = written((0, {"🔥": 2}), (1, {"🔥": 1, "🎉": 4}))
    ledger.count(swarm(1, {"🔥": 3, "🎉": 4}, {"0": 1, "1": 1}))
    assert (ledger.accepted, ledger.counted, ledger.waiting) == (7, 7, 0)
    assert not ledger.lost
    assert not ledger.doubled


def test_a_swarm_waits_for_its_records_to_be_read() -> None:
    ledger = Ledger(BEGINNING)
    ledger.count(swarm(1, {"🔥": 2}, {"0": 1, "1": 0}))
    assert not ledger.doubled
    ledger.write(0, 0, {"🔥": 2})
    ledger.read(0, 1)
    assert (ledger.counted, ledger.waiting) == (2, 0)
    assert not ledger.doubled


def test_what_was_not_counted_is_lost() -> None:
    ledger = written((0, {"🔥": 2, "🎉": 1}))
    ledger.count(swarm(1, {"🔥": 1}, {"0": 1, "1": 0}))
    assert ledger.lost == {"🔥": 1, "🎉": 1}


def test_a_batch_that_was_counted_twice_is_doubled() -> None:
    ledger = written((0, {"🔥": 2}))
    ledger.count(swarm(1, {"🔥": 2}, {"0": 1, "1": 0}))
    ledger.count(swarm(2, {"🔥": 4}, {"0": 1, "1": 0}))
    assert ledger.doubled == {"🔥": 2}
    assert not ledger.lost


def test_totals_that_fell_are_a_loss() -> None:
    ledger = written((0, {"🔥": 2}))
    ledger.count(swarm(1, {"🔥": 2}, {"0": 1, "1": 0}))
    ledger.count(swarm(2, {}, {"0": 1, "1": 0}))
    assert ledger.lost == {"🔥": 2}


def test_a_new_stream_needs_a_new_ledger() -> None:
    with pytest.raises(EmoStreamError, match="new stream"):
        Ledger(BEGINNING).count(swarm(0, {}, {"0": 0, "1": 0}, stream="other"))


def test_the_counts_of_a_record() -> None:
    record = encode([Reaction("u1", "🔥", 1), Reaction("u2", "🔥", 2), Reaction("u1", "🇮🇳", 3)])
    assert counts_of(record) == {"🔥": 2, "🇮🇳": 1}


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"\xff", b'[{"user_id":"u"}]', encode([Reaction("u", "word", 1)]), b"[", b"[7]"]
)
def test_a_record_that_is_set_aside_counts_nothing(record: bytes) -> None:
    assert counts_of(record) == {}


@given(
    records=st.lists(st.tuples(st.integers(0, 1), st.dictionaries(st.sampled_from("🔥🎉"), st.integers(1, 9)))),
    cuts=st.sets(st.integers(1, 30)),
    swarms_first=st.booleans(),
)
def test_a_right_count_is_found_right_however_it_is_cut(
    records: list[tuple[int, Counts]], cuts: set[int], swarms_first: bool
) -> None:
    swarms, totals, ends = [], dict[str, int](), {"0": 0, "1": 0}
    for index, (partition, counts) in enumerate(records, 1):
        for emoji, count in counts.items():
            totals[emoji] = totals.get(emoji, 0) + count
        ends[str(partition)] += 1
        if index in cuts or index == len(records):
            swarms.append(swarm(len(swarms) + 1, dict(totals), dict(ends)))
    ledger = Ledger(BEGINNING)
    steps = [lambda: [ledger.count(each) for each in swarms], lambda: _write_all(ledger, records)]
    for step in steps if swarms_first else reversed(steps):
        step()
    assert not ledger.lost
    assert not ledger.doubled
    assert ledger.accepted == ledger.counted == sum(totals.values())


def _write_all(ledger: Ledger, records: list[tuple[int, Counts]]) -> None:
    for partition, counts in records:
        ledger.write(partition, ledger.position(partition), counts)
        ledger.read(partition, ledger.position(partition) + 1)


def test_events_are_checked_apart() -> None:
    opened = swarm_with_events({}, {"final": EventPart("e1", 0, {})})
    ledger = Ledger(opened)
    ledger.write(0, 0, {"🔥": 1, "final/🔥": 2, "gone/🔥": 5})
    ledger.read(0, 1)
    parts = {"final": EventPart("e1", 1, {"🔥": 1})}
    ledger.count(swarm_with_events({"0": 1}, parts, sequence=1, totals={"🔥": 1}))
    assert (dict(ledger.lost), dict(ledger.doubled)) == ({"final/🔥": 1}, {})
    # What was set aside for its event is not accepted.
    assert (ledger.accepted, ledger.counted) == (3, 2)


def test_an_event_that_is_opened_again_or_archived_loses_nothing() -> None:
    ledger = Ledger(swarm_with_events({}, {"final": EventPart("e1", 2, {"🔥": 7}, ended=True)}))
    ledger.count(swarm_with_events({}, {"final": EventPart("e2", 0, {})}, sequence=1))
    ledger.count(swarm_with_events({}, {}, sequence=2))
    assert (ledger.lost.total(), ledger.doubled.total(), ledger.accepted, ledger.counted) == (0, 0, 7, 7)


def swarm_with_events(
    offsets: dict[str, int], events: dict[str, EventPart], sequence: int = 0, totals: dict[str, int] | None = None
) -> Swarm:
    progress = Progress("topic", offsets)
    return Swarm(f"s-{sequence}", sequence, Window(0, 0), 0, {}, {}, totals or {}, progress, events)
