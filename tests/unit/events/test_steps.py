"""What the aggregator writes and tells about the events; the courses of `protocol/test_events.py` put it together."""

from emostream.events.steps import LeaderSteps, View, due, settled
from emostream.events.table import Definition, State
from emostream.model import EventPart
from emostream.swarms.rules import Changes


def definition(state: State, stream: str = "00000000064") -> Definition:
    return Definition("A match", ("🔥",), state, stream)


def part(stream: str = "00000000064", *, ended: bool = False) -> EventPart:
    return EventPart(stream, 3, {"🔥": 3}, ended=ended)


def test_an_event_that_the_record_does_not_hold_is_opened_in_a_stream_after_all_earlier_ones() -> None:
    assert due({"final": definition("opening")}, {}, (), now_ms=5) == Changes({"final": "00000000065"})
    again = due({"final": definition("opening")}, {"final": part("00000000063", ended=True)}, (), now_ms=0x200)
    assert again == Changes({"final": "00000000200"})


def test_an_event_whose_record_was_lost_goes_on_in_a_new_stream() -> None:
    assert due({"final": definition("open")}, {}, (), now_ms=0x200).opened == {"final": "00000000200"}


def test_a_closing_event_ends_once_it_is_complete() -> None:
    table, parts = {"final": definition("closing")}, {"final": part()}
    assert not due(table, parts, (), now_ms=5)
    assert due(table, parts, {"final"}, now_ms=5) == Changes(ended=frozenset({"final"}))
    assert not due(table, {"final": part(ended=True)}, {"final"}, now_ms=5)


def test_an_archived_event_is_taken_out_once() -> None:
    table = {"final": definition("archiving")}
    assert due(table, {"final": part(ended=True)}, (), now_ms=5) == Changes(archived=frozenset({"final"}))
    assert not due(table, {}, (), now_ms=5)


def test_the_table_is_told_what_the_record_shows() -> None:
    table = {
        "a": definition("opening"),
        "b": definition("closing"),
        "c": definition("archiving"),
        "d": definition("opening", "00000000100"),
    }
    parts = {"a": part("00000000070"), "b": part(ended=True), "d": part(ended=True)}
    told = settled(table, parts, now_ms=7)
    assert told == {
        "a": definition("open", "00000000070"),
        "b": Definition("A match", ("🔥",), "closed", "00000000064", ended_ms=7),
        # Its part is of an earlier opening.
        "d": definition("opening", "00000000100"),
    }
    assert settled(told, parts, now_ms=9) == told


def test_an_event_is_complete_when_all_ingests_have_confirmed_and_the_log_is_counted_up_to_its_ends() -> None:
    steps, parts = LeaderSteps(), {"final": part()}
    view = View({"final": definition("closing")}, 1)
    assert steps.unconfirmed(view, parts) == {"final": "00000000064"}
    unconfirmed = steps.unconfirmed(view, parts)
    assert steps.confirm(unconfirmed, [{"final": "00000000064"}, {}]) == []
    # A confirmation of an earlier opening is none.
    assert steps.confirm(unconfirmed, [{"final": "00000000063"}]) == []
    confirmed = steps.confirm(unconfirmed, [{"final": "00000000064"}])
    steps.take_ends(confirmed, {0: 10, 1: 4})
    assert steps.unconfirmed(view, parts) == {}
    assert steps.changes(view, parts, {"0": 10, "1": 3}, now_ms=5) is None
    changes = steps.changes(view, parts, {"0": 12, "1": 4}, now_ms=5)
    assert changes == Changes(ended=frozenset({"final"}))


def test_a_table_is_told_only_after_a_record_that_was_written_since_it_was_read() -> None:
    steps, parts = LeaderSteps(), {"final": part("00000000070")}
    view = View({"final": definition("opening")}, 1)
    assert steps.table_to_tell(view, parts, now_ms=5) is None
    # The record is written although it changes nothing: it proves that this aggregator leads.
    assert steps.changes(view, parts, {}, now_ms=5) == Changes()
    steps.wrote(view)
    assert steps.changes(view, parts, {}, now_ms=5) is None
    assert steps.table_to_tell(view, parts, now_ms=5) == {"final": definition("open", "00000000070")}
    assert steps.table_to_tell(View(view.table, 2), parts, now_ms=5) is None
