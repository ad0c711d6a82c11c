"""Both kinds of stream read what the subscriber writes, and say why they end."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from emostream import model
from emostream.client.errors import StreamEndedError, StreamLostError
from emostream.client.streams import SseStream, Stream, WebSocketStream
from emostream.client.watcher import Watcher
from emostream.subscriber import frames, http

SNAPSHOT = model.Snapshot("s-4", 4, {"🔥": 5})
SSE_HEAD = http.head(HTTPStatus.OK, [("Content-Type", "text/event-stream")])
FULL = http.problem(HTTPStatus.SERVICE_UNAVAILABLE, "This subscriber is full.", [("Retry-After", "2")])


def feed(stream: Stream, piece: bytes) -> list[model.ViewerMessage]:
    return list(stream.feed(piece))


def sse(last_id: str | None = None) -> SseStream:
    return SseStream("http://edge:9001/v1/stream", last_id)


def websocket(last_id: str | None = None) -> tuple[WebSocketStream, bytes]:
    """A stream, and a server's bytes that accept its handshake."""
    stream = WebSocketStream("ws://edge:9001/v1/ws", last_id)
    return stream, acceptance_of(stream.request())


def acceptance_of(request: bytes) -> bytes:
    """A server's bytes that accept the handshake of a WebSocket."""
    head, *lines = request.decode().split("\r\n")
    headers = Headers(tuple(line.split(": ", 1)) for line in lines if line)
    return ServerProtocol().accept(Request(head.split()[1], headers)).serialize()


def accepted(kind: str) -> tuple[Stream, Callable[[Any], bytes]]:
    """A stream whose handshake is done, and how its server writes a message."""
    if kind == "sse":
        stream: Stream = sse()
        assert not stream.is_accepted
        assert feed(stream, SSE_HEAD + frames.retry(3_000)) == []
        assert stream.is_accepted
        return stream, lambda message: frames.of(message).sse
    stream, acceptance = websocket()
    assert not stream.is_accepted
    assert feed(stream, acceptance) == []
    assert stream.is_accepted
    return stream, lambda message: frames.of(message).ws


KINDS = pytest.mark.parametrize("kind", ["sse", "ws"])


@KINDS
def test_messages_come_in_any_pieces(kind: str) -> None:
    stream, write = accepted(kind)
    data = write(SNAPSHOT) + write(model.Goodbye())
    messages = [message for byte in data for message in stream.feed(bytes([byte]))]
    assert messages == [SNAPSHOT, model.Goodbye()]


@KINDS
def test_a_message_of_a_newer_server_is_ignored(kind: str) -> None:
    stream, write = accepted(kind)
    data = write(SNAPSHOT).replace(b'"snapshot"', b'"newsnaps"')
    assert feed(stream, data + write(model.Goodbye())) == [model.Goodbye()]


@KINDS
def test_a_message_that_is_not_utf_8_ends_the_stream(kind: str) -> None:
    stream, write = accepted(kind)
    with pytest.raises(StreamLostError, match="no message"):
        feed(stream, write(SNAPSHOT).replace("🔥".encode(), b"\xff\xff\xff\xff"))


@KINDS
def test_a_broken_message_ends_the_stream(kind: str) -> None:
    stream, write = accepted(kind)
    with pytest.raises(StreamLostError, match="no message"):
        feed(stream, write(SNAPSHOT).replace(b'"sequence"', b'"sequenze"'))


def test_bytes_that_are_not_utf_8_end_the_stream() -> None:
    stream, write = accepted("sse")
    with pytest.raises(StreamLostError, match="no message"):
        feed(stream, write(SNAPSHOT).replace(b'"snapshot"', b'"snap\xffhot"'))


@KINDS
def test_heartbeats_are_silent(kind: str) -> None:
    stream, _ = accepted(kind)
    assert feed(stream, getattr(frames.HEARTBEAT, kind)) == []
    assert bool(stream.data_to_send()) == (kind == "ws")


def test_sse_resumes_by_a_header_and_websocket_by_the_query() -> None:
    assert b"\r\nLast-Event-ID: s-7\r\n" in sse("s-7").request()
    assert b"Last-Event-ID" not in sse().request()
    assert b"GET /v1/ws?heartbeats=1&last_event_id=s-7 " in WebSocketStream("ws://edge/v1/ws", "s-7").request()
    assert b"?a=b&heartbeats=1&last_event_id=s-7 " in WebSocketStream("ws://edge/v1/ws?a=b", "s-7").request()


def test_both_ask_for_heartbeats_that_they_can_see() -> None:
    assert b"GET /v1/stream?heartbeats=1 " in sse().request()
    assert b"GET /v1/ws?heartbeats=1 " in WebSocketStream("ws://edge/v1/ws").request()


def test_a_viewer_that_knows_its_totals_asks_for_the_compact_form() -> None:
    assert b"GET /v1/stream?heartbeats=1&form=compact " in SseStream("http://edge/v1/stream", totals=dict).request()
    assert b"GET /v1/ws?heartbeats=1&form=compact " in WebSocketStream("ws://edge/v1/ws", totals=dict).request()


@pytest.mark.parametrize("form", [frames.COMPACT, frames.FULL], ids=["compact", "an older subscriber's full one"])
def test_a_compact_stream_gives_whole_swarms(form: int) -> None:
    watcher = Watcher()
    watcher.take(model.Snapshot("s-4", 4, {"🔥": 5}))
    stream = SseStream("http://edge/v1/stream", "s-4", totals=lambda: watcher.totals)
    stream.request()
    swarms = [
        model.Swarm(f"s-{number}", number, model.Window(number, number + 1), 1_002, counts, shown, totals)
        for number, counts, shown, totals in (
            (5, {"🔥": 1_001, "👏": 1}, {"🔥": 2, "👏": 1}, {"🔥": 1_006, "👏": 1}),
            (6, {"👏": 1_002}, {"👏": 11}, {"👏": 1_003}),
        )
    ]
    seen = []
    for message in stream.feed(SSE_HEAD + b"".join(frames.of(swarm)[frames.SSE + form] for swarm in swarms)):
        seen.append(message)
        watcher.take(message)
    assert seen == swarms
    assert watcher.mismatches == 0


@KINDS
def test_a_compact_swarm_of_no_place_ends_the_stream(kind: str) -> None:
    stream: Stream = SseStream("http://edge/v1/stream", totals=dict)
    acceptance = SSE_HEAD
    request = stream.request()
    if kind == "ws":
        stream = WebSocketStream("ws://edge/v1/ws", totals=dict)
        request = stream.request()
        acceptance = acceptance_of(request)
    broken = model.CompactSwarm("s", model.Window(0, 1), {"🔥": 1})
    data = model.encode(broken)
    frame = b"data: " + data + b"\n\n" if kind == "sse" else Frame(Opcode.TEXT, data).serialize(mask=False)
    with pytest.raises(StreamLostError, match="no id of a message"):
        feed(stream, acceptance + frame)


@KINDS
def test_a_stream_may_be_silent_for_two_of_the_heartbeats_that_it_announces(kind: str) -> None:
    assert (sse() if kind == "sse" else websocket()[0]).silence_timeout_seconds == 10
    stream, write = accepted(kind)
    assert stream.silence_timeout_seconds == 45
    assert feed(stream, write(model.Hello(3_000)) + write(model.Heartbeat()) + write(SNAPSHOT)) == [SNAPSHOT]
    assert stream.silence_timeout_seconds == 7


@pytest.mark.parametrize("kind", [SseStream, WebSocketStream])
def test_a_refusal_says_why_and_for_how_long(kind: type[SseStream] | type[WebSocketStream]) -> None:
    stream = kind("http://edge/v1/stream" if kind is SseStream else "ws://edge/v1/ws")
    stream.request()
    with pytest.raises(StreamLostError) as loss:
        feed(stream, FULL)
    assert (loss.value.reason, loss.value.retry_seconds) == ("This subscriber is full.", 2)


@pytest.mark.parametrize("kind", [SseStream, WebSocketStream])
def test_what_is_no_http_is_told(kind: type[SseStream] | type[WebSocketStream]) -> None:
    stream = kind("http://edge/v1/stream" if kind is SseStream else "ws://edge/v1/ws")
    stream.request()
    with pytest.raises(StreamLostError, match="HTTP"):
        feed(stream, b"SSH-2.0-OpenSSH\r\n\r\n")


def test_an_event_stream_knows_how_long_to_wait_after_it() -> None:
    stream, _ = accepted("sse")
    assert stream.retry_seconds == 3


def test_a_closed_websocket_says_why() -> None:
    stream, _ = accepted("ws")
    with pytest.raises(StreamLostError, match="full"):
        feed(stream, frames.close(CloseCode.TRY_AGAIN_LATER, "this one is full"))
    assert stream.end().reason == "this one is full"


@KINDS
def test_the_end_of_the_event_is_a_message(kind: str) -> None:
    stream, write = accepted(kind)
    assert feed(stream, write(model.End("s-5", 5, {"🔥": 5}))) == [model.End("s-5", 5, {"🔥": 5})]


def test_who_resumes_at_the_end_is_told_that_nothing_more_comes() -> None:
    by_sse = sse("s-5")
    with pytest.raises(StreamEndedError):
        feed(by_sse, http.head(HTTPStatus.NO_CONTENT, []))
    by_websocket, acceptance = websocket("s-5")
    with pytest.raises(StreamEndedError):
        feed(by_websocket, acceptance + frames.close(model.CLOSE_ENDED, "the event has ended"))
    assert not by_websocket.is_accepted


def test_a_message_and_the_close_behind_it_in_one_piece() -> None:
    stream, write = accepted("ws")
    data = write(model.Goodbye()) + frames.close(CloseCode.GOING_AWAY, "draining")
    messages = stream.feed(data)
    assert next(messages) == model.Goodbye()
    with pytest.raises(StreamLostError, match="draining"):
        next(messages)


def test_a_message_that_a_proxy_has_cut_into_frames() -> None:
    stream, _ = accepted("ws")
    data = model.encode(SNAPSHOT)
    first = Frame(Opcode.TEXT, data[:20], fin=False).serialize(mask=False)
    assert feed(stream, first) == []
    assert feed(stream, Frame(Opcode.CONT, data[20:]).serialize(mask=False)) == [SNAPSHOT]
