"""Messages on the wire are what SSE and WebSocket clients understand."""

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream import model
from emostream.subscriber import frames
from tests.unit.subscriber.examples import swarm


def received(data: bytes) -> list[tuple[Opcode, bytes]]:
    client = ClientProtocol(parse_uri("ws://subscriber/v1/ws"), state=State.OPEN)
    client.receive_data(data)
    return [(event.opcode, bytes(event.data)) for event in client.events_received()]


def test_an_sse_event_has_the_messages_type_and_id() -> None:
    message = model.Snapshot("k3v9-1", 1, {"🔥": 2})
    expected = 'event: snapshot\nid: k3v9-1\ndata: {"type":"snapshot","id":"k3v9-1","sequence":1,"totals":{"🔥":2}}\n\n'
    assert frames.of(message).sse.decode() == expected


def test_a_goodbye_leaves_the_viewers_id_as_it_is() -> None:
    assert frames.of(model.Goodbye()).sse == b'event: goodbye\ndata: {"type":"goodbye","reason":"draining"}\n\n'


def test_a_websocket_client_reads_the_same_json() -> None:
    message = swarm("k3v9", 7).for_viewers()
    assert received(frames.of(message).ws) == [(Opcode.TEXT, model.encode(message))]


@pytest.mark.parametrize("size_bytes", [125, 126, 127, 0xFFFF, 0x10000, 200_000])
def test_a_message_of_any_length_is_read_whole(size_bytes: int) -> None:
    rest = len(model.encode(model.Reset("k3v9-1", 1, {"": 1})))
    message = model.Reset("k3v9-1", 1, {"x" * (size_bytes - rest): 1})
    data = model.encode(message)
    assert len(data) == size_bytes
    assert received(frames.of(message).ws) == [(Opcode.TEXT, data)]


def test_a_heartbeat_is_a_comment_or_a_ping() -> None:
    assert frames.HEARTBEAT.sse.startswith(b":")
    assert received(frames.HEARTBEAT.ws) == [(Opcode.PING, b"")]


def test_a_heartbeat_that_a_page_can_see_is_a_message_without_an_id() -> None:
    assert frames.VISIBLE_HEARTBEAT.sse == b'event: heartbeat\ndata: {"type":"heartbeat"}\n\n'
    assert received(frames.VISIBLE_HEARTBEAT.ws) == [(Opcode.TEXT, b'{"type":"heartbeat"}')]


def test_hello_says_after_how_long_a_silence_a_heartbeat_comes() -> None:
    hello = frames.of(model.Hello(3_000))
    assert hello.sse == b'event: hello\ndata: {"type":"hello","heartbeat_ms":3000}\n\n'
    assert received(hello.ws) == [(Opcode.TEXT, b'{"type":"hello","heartbeat_ms":3000}')]


def test_a_close_frame_carries_code_and_reason() -> None:
    (opcode, data), *_ = received(frames.close(CloseCode.TRY_AGAIN_LATER, "full"))
    assert opcode is Opcode.CLOSE
    assert Close.parse(data) == Close(1013, "full")


def test_retry_is_an_sse_field_of_its_own() -> None:
    assert frames.retry(1_500) == b"retry: 1500\n\n"
