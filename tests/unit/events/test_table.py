"""What an operator may do to the table of events, and how the table reads what others wrote into it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import palette
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.events import table as events
from emostream.events.table import Definition
from emostream.model import EventPart

WISH = Definition("India – Australia", ("🔥", "👏"), "opening", "0" * 11)
HOUR_MS = 3_600_000


def table(**states: events.State) -> dict[str, Definition]:
    return {event: Definition("A match", ("🔥",), state, "00000000064") for event, state in states.items()}


def test_a_new_event_is_opening_in_a_stream_of_its_time() -> None:
    opened = events.opened({}, "final", WISH, now_ms=0x123)
    assert opened == {"final": Definition("India – Australia", ("🔥", "👏"), "opening", "00000000123")}


def test_an_event_that_is_opened_twice_keeps_its_stream_and_gets_what_the_second_asks_for() -> None:
    first = events.opened(table(final="open"), "final", WISH, now_ms=10**9)
    assert first["final"] == Definition("India – Australia", ("🔥", "👏"), "open", "00000000064")
    assert events.opened(first, "final", WISH, now_ms=2 * 10**9) == first


def test_a_closed_event_begins_anew_even_if_the_clock_was_set_back() -> None:
    opened = events.opened(table(final="closed"), "final", WISH, now_ms=5)
    assert (opened["final"].state, opened["final"].stream) == ("opening", "00000000065")


@pytest.mark.parametrize("state", ["closing", "archiving"])
def test_an_event_that_is_about_to_change_is_not_opened(state: events.State) -> None:
    with pytest.raises(EmoStreamError, match=f"the event final is {state}"):
        events.opened(table(final=state), "final", WISH, now_ms=5)


@pytest.mark.parametrize(
    ("state", "then"),
    [
        ("opening", "closing"),
        ("open", "closing"),
        ("closing", "closing"),
        ("closed", "closed"),
        ("archiving", "archiving"),
    ],
)
def test_closing_twice_is_closing_once(state: events.State, then: events.State) -> None:
    assert events.closed(table(final=state), "final")["final"].state == then


def test_an_event_is_archived_once_kafka_holds_none_of_its_reactions_or_by_force() -> None:
    ended = msgspec.structs.replace(table(final="closed")["final"], ended_ms=HOUR_MS)
    closed = {"final": ended}
    with pytest.raises(EmoStreamError, match=r"ended less than 2 h ago.* archive it in 1\.0 h, or now with --force"):
        events.archived(closed, "final", now_ms=2 * HOUR_MS, retention_ms=2 * HOUR_MS)
    for archived in (
        events.archived(closed, "final", now_ms=2 * HOUR_MS, retention_ms=2 * HOUR_MS, force=True),
        events.archived(closed, "final", now_ms=3 * HOUR_MS, retention_ms=2 * HOUR_MS),
    ):
        assert archived["final"].state == "archiving"
        assert events.archived(archived, "final", now_ms=0, retention_ms=1) == archived


def test_an_open_event_is_not_archived() -> None:
    with pytest.raises(EmoStreamError, match="the event final is open: close it first"):
        events.archived(table(final="open"), "final", now_ms=0, retention_ms=0, force=True)


def test_an_event_that_is_not_there_is_neither_closed_nor_archived() -> None:
    with pytest.raises(EmoStreamError, match="there is no event final: `emostream events list`"):
        events.closed({}, "final")
    with pytest.raises(EmoStreamError, match="there is no event final"):
        events.archived({}, "final", now_ms=0, retention_ms=0)


@pytest.mark.parametrize("event", ["", "-final", "Final", "a" * 49, "final\n", "a/b", "é", "..", "a_b"])
def test_a_malformed_id_is_refused(event: str) -> None:
    with pytest.raises(EmoStreamError, match="is no id of an event"):
        events.check_id(event)


def test_main_is_not_in_the_table() -> None:
    with pytest.raises(EmoStreamError, match="main always exists"):
        events.opened({}, "main", WISH, now_ms=0)


def test_the_table_comes_back_as_it_was() -> None:
    written = {**table(final="open", b="closed"), "quiet": msgspec.structs.replace(WISH, listed=False, ended_ms=5)}
    assert events.decode(events.encode(written)) == (written, [])
    assert events.decode(b"") == ({}, [])


def test_an_entry_that_cannot_be_read_is_named_and_the_others_are_read() -> None:
    good = json.loads(events.encode(table(final="open")))
    junk = {
        **good,
        "Bad": good["final"],
        "main": good["final"],
        "b": 7,
        "c": {**good["final"], "state": "lost"},
        "d": {**good["final"], "palette": ["🔥"] * 65},
        "e": {**good["final"], "stream": "not hexadecimal"},
    }
    found, problems = events.decode(json.dumps(junk).encode())
    assert found == table(final="open")
    assert [problem.split(" is defined")[0] for problem in problems] == [
        f"the event {event!r}" for event in ["Bad", "main", "b", "c", "d", "e"]
    ]


@given(st.binary())
def test_junk_is_no_table(content: bytes) -> None:
    try:
        found, _ = events.decode(content)
    except msgspec.DecodeError:
        return
    assert found == {}


def test_an_entry_that_cannot_be_read_is_not_lost_by_a_change_of_others() -> None:
    before = events.encode(table(final="open"))[:-1] + b',"later":{"state":"of a later release"}}'
    after = events.encode(table(final="closed", new="open"), before)
    assert json.loads(after)["later"] == {"state": "of a later release"}
    assert events.decode(after)[0] == table(final="closed", new="open")


def test_a_thousand_events_of_32_emoji_have_room_in_a_record_and_one_too_many_is_refused() -> None:
    definition = Definition("A match", palette.DEFAULT, "open", "00000000064")
    thousand = {f"event-{number:042}": definition for number in range(1_000)}
    events.check_room(thousand, KafkaSettings().max_record_bytes)
    with pytest.raises(EmoStreamError, match=r"1000 events could have \d+ bytes, .* [1-9]\d+ events of this size fit"):
        events.check_room(thousand, 1 << 20)


def test_no_part_is_larger_than_the_room_that_is_kept_for_it() -> None:
    definition = Definition("A match", palette.DEFAULT, "open", "f" * 11)
    most = dict.fromkeys(palette.DEFAULT, 10**12 - 1)
    part = EventPart("f" * 11, 2**63, most, most, most, ended=True)
    assert len(msgspec.json.encode({"final": part})) <= events.largest_part_bytes("final", definition)
