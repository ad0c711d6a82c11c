"""The parser finds the same events however the bytes are cut, and gives up what has no end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream.client.errors import StreamLostError
from emostream.client.sse import MAX_EVENT_BYTES, Event, Parser
from emostream.subscriber import frames


def parse(*pieces: bytes) -> list[Event]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_fields_comments_and_several_data_lines() -> None:
    text = b":hello\n\nevent: swarm\nid: a-1\ndata: one\ndata:two\nunknown: x\ndata\n\ndata: {}\n\n"
    assert parse(text) == [Event("swarm", b"one\ntwo\n", "a-1"), Event("message", b"{}", "a-1")]


def test_an_event_without_data_is_none_and_forgets_its_type() -> None:
    assert parse(b"event: swarm\n\ndata: x\n\n") == [Event("message", b"x", "")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert parse(b"\xef\xbb\xbfdata: x\n\n") == [Event("message", b"x", "")]


def test_an_id_with_nul_is_ignored() -> None:
    assert parse(b"id: a\ndata: x\n\nid: b\0\ndata: y\n\n")[1].last_id == "a"


def test_retry_is_seconds_and_only_digits_count() -> None:
    parser = Parser()
    parser.feed(b"retry: soon\n\n")
    assert parser.retry_seconds is None
    parser.feed(b"retry: 2500\n\n")
    assert parser.retry_seconds == 2.5


def test_what_is_not_ended_is_no_event() -> None:
    assert parse(b"data: x\n") == []


lines = st.lists(
    st.sampled_from([b"data: a", b"data:b:c", b"data", b"event: e", b"id: 7", b"", b"", b": comment", b"retry: 5"])
)


@given(lines, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_the_cuts_do_not_matter(lines: list[bytes], line_end: bytes, data: st.DataObject) -> None:
    # One more byte at the end, because a last carriage return waits for what follows it.
    text = b"".join(line + line_end for line in lines) + b":"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parse(*pieces) == parse(text.replace(line_end, b"\n"))


def test_it_reads_what_the_subscriber_writes() -> None:
    snapshot = model.Snapshot("s-3", 3, {"🔥": 5})
    (event,) = parse(frames.retry(1_500) + frames.of(snapshot).sse + frames.HEARTBEAT.sse)
    assert (event.type, event.last_id) == ("snapshot", "s-3")
    assert model.decode_stream_message(event.data) == snapshot


@pytest.mark.parametrize("line", [b"data: " + b"x" * 100_000 + b"\n", b"x" * 100_000])
def test_an_event_without_end_is_given_up(line: bytes) -> None:
    parser = Parser()
    for _ in range(MAX_EVENT_BYTES // 100_000 - 1):
        parser.feed(line)
    with pytest.raises(StreamLostError, match="larger"):
        parser.feed(2 * line)
