"""Messages on the wire are what SSE and WebSocket clients understand."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions import Extension
from websockets.frames import Close, CloseCode, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream import model, palette
from emostream.subscriber import frames
from emostream.subscriber.connection import DeflateWebSocketViewer
from emostream.swarms.rules import Compression
from emostream_lab.bench.audience import Audience
from tests.unit.subscriber.examples import swarm

COUNTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 10**12), min_size=1)
WINDOW = model.Window(1_764_322_842_000, 1_764_322_844_000)
SWARM_TYPE = b"event: swarm\n"
MESSAGES = [
    model.Snapshot("k3v9-1", 1, {"🔥": 2}),
    swarm("k3v9", 7).for_viewers(),
    model.Reset("k3v9-1", 1, {"x" * 200_000: 1}),
    model.Goodbye(),
]


def received(data: bytes, *extensions: Extension) -> list[tuple[Opcode, bytes]]:
    client = ClientProtocol(parse_uri("ws://subscriber/v1/ws"), state=State.OPEN)
    client.extensions = list(extensions)
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


@given(st.lists(st.sampled_from([*map(frames.of, MESSAGES), frames.HEARTBEAT, frames.VISIBLE_HEARTBEAT])))
def test_a_viewer_reads_any_messages_in_gzip(sent: list[frames.Frames]) -> None:
    stream = frames.GZIP_HEADER + b"".join(each[frames.SSE_GZIP] for each in sent)
    assert zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(stream) == b"".join(each.sse for each in sent)


def test_each_message_in_gzip_is_readable_as_soon_as_it_has_arrived() -> None:
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    reader.decompress(frames.GZIP_HEADER)
    for message in map(frames.of, MESSAGES):
        assert reader.decompress(message[frames.SSE_GZIP]) == message.sse


@given(st.lists(st.sampled_from(MESSAGES)))
def test_a_websocket_client_reads_any_compressed_messages(sent: list[model.StreamMessage]) -> None:
    stream = b"".join(frames.of(message)[frames.WS_DEFLATE] for message in sent)
    expected = [(Opcode.TEXT, model.encode(message)) for message in sent]
    assert received(stream, *DeflateWebSocketViewer.extensions) == expected


def test_a_ping_is_not_compressed() -> None:
    extensions = DeflateWebSocketViewer.extensions
    assert received(frames.HEARTBEAT[frames.WS_DEFLATE], *extensions) == [(Opcode.PING, b"")]


def test_a_message_is_encoded_once_for_all_viewers_of_a_kind() -> None:
    message = frames.of(MESSAGES[1])
    for kind in range(len(frames.KINDS)):
        assert message[kind] is message[kind]


@given(
    COUNTS, st.integers(1, 10_000), st.dictionaries(st.sampled_from(palette.DEFAULT), st.integers(1, 10**6), min_size=1)
)
def test_all_encodings_take_no_more_than_is_reckoned_with(
    counts: model.Counts, ratio: int, of_palette: model.Counts
) -> None:
    for each in (counts, of_palette):
        shown = {emoji: Compression(ratio, "ceil").of(count) for emoji, count in each.items()}
        message = frames.of(model.Swarm("19ac9d61590-812", 812, WINDOW, sum(each.values()), each, shown, each))
        assert sum(len(message[kind]) for kind in range(len(frames.KINDS))) <= message.most_bytes


@pytest.mark.parametrize("plain", range(frames.COMPACT), ids=frames.KINDS[: frames.COMPACT])
@pytest.mark.parametrize("message", [*map(frames.of, MESSAGES), frames.HEARTBEAT, frames.VISIBLE_HEARTBEAT])
def test_only_swarms_have_a_compact_form(message: frames.Frames, plain: int) -> None:
    assert (message[plain + frames.COMPACT] is message[plain]) == (not message.sse.startswith(SWARM_TYPE))


def test_a_compact_swarm_is_the_same_by_each_kind() -> None:
    message = frames.of(MESSAGES[1])
    event = (
        b"event: swarm\nid: k3v9-7\n"
        b'data: {"type":"swarm","id":"k3v9-7","window":{"start":14000,"end":16000},"counts":{"\xf0\x9f\x94\xa5":3}}\n\n'
    )
    data = event.partition(b"data: ")[2].rstrip()
    assert message[frames.SSE + frames.COMPACT] == event
    assert received(message[frames.WS + frames.COMPACT]) == [(Opcode.TEXT, data)]
    deflated = message[frames.WS_DEFLATE + frames.COMPACT]
    assert received(deflated, *DeflateWebSocketViewer.extensions) == [(Opcode.TEXT, data)]
    gzip = frames.GZIP_HEADER + message[frames.SSE_GZIP + frames.COMPACT]
    assert zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(gzip) == event


@pytest.mark.parametrize("kind", [frames.SSE, frames.WS])
def test_a_compact_swarm_of_the_whole_palette_is_two_fifths_of_a_full_one(kind: int) -> None:
    audience = Audience(per_second=1_000, trigger_ms=2_000, seed=7)
    # The totals of the first swarms are shorter than those of a minute later.
    *_, last = (audience.next_swarm() for _ in range(30))
    message = frames.of(last.for_viewers())
    assert len(message[kind + frames.COMPACT]) <= 0.4 * len(message[kind])
