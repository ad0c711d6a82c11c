"""Any bytes, in any packets, get a well-formed answer or a close, and nothing breaks."""

import re
import struct
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream.subscriber.connection import Handshake
from tests.unit.subscriber.rig import FakeTransport, connected, in_loop, new_server, publish

_STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-5]\d\d [A-Za-z -]+")
_HEADER = re.compile(rb"[A-Za-z0-9-]+: [^\r\n\0]*")

# What may differ between two equal answers.
_CHANGING = re.compile(rb"Date: [^\r]*\r\n|retry: \d+")

_UPGRADE = [
    (b"Host", b"x"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]
_WEBSOCKET = b"GET /v1/ws HTTP/1.1\r\n" + b"".join(b"%s: %s\r\n" % header for header in _UPGRADE) + b"\r\n"


def mostly(usual: list[Any], *others: Any) -> st.SearchStrategy[Any]:
    """A usual value five times out of six, because only the first odd value of several matters."""
    return st.integers(0, 5).flatmap(lambda number: st.sampled_from(usual if number < 5 else others))


_method = mostly([b"GET", b"HEAD", b"POST", b"OPTIONS"], b"PRI", b"CONNECT", b"get", b"G\0T", b"")
_path = mostly([b"/v1/stream", b"/v1/ws", b"/v1/trace", b"/healthz"], b"//healthz", b"*", b"/\xf0\x9f", b"/%00", b"")
_query = mostly(
    [b"", b"?last_event_id=s-1", b"?lastEventId=s-999999999", b"?sequence=2", b"?heartbeats=1", b"?form=compact"],
    b"?form=",
    b"?%",
    b"?&&=;",
    b"?sequence=%00",
)
_version = mostly([b"HTTP/1.1"], b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1", b"ICE/1.0", b"")
_line_end = mostly([b"\r\n"], b"\n", b"\r", b"")
_header = mostly(
    [
        (b"Host", b"x"),
        (b"Origin", b"https://a.example"),
        (b"Last-Event-ID", b"s-1"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Sec-WebSocket-Version", b"12"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
        (b"Access-Control-Request-Headers", b"x-a, x b, \xff"),
        (b"Expect", b"100-continue"),
    ],
    (b"", b"x"),
    (b"Content-Length", b"-1"),
    (b"Access-Control-Request-Headers", b"a\rSet-Cookie: b"),
    (b"Sec-WebSocket-Key", b"\0"),
    (b"Upgrade", b"\xff"),
)
_text = st.binary(max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something that is nearly a request."""
    headers = [*draw(mostly([_UPGRADE, [(b"Host", b"x")]], [])), *draw(st.lists(_header, max_size=3))]
    end = draw(_line_end)
    lines = [b" ".join((draw(_method), draw(_path) + draw(_query), draw(_version)))]
    lines += [b"%s: %s" % header for header in headers]
    return end.join(lines) + end + draw(_line_end) + draw(_text)


@st.composite
def websocket_frames(draw: st.DrawFn) -> bytes:
    """Something that is nearly a frame of a client; `Frame` itself refuses to make most of them."""
    opcode = draw(mostly([Opcode.TEXT, Opcode.PING, Opcode.PONG, Opcode.CONT], Opcode.CLOSE, Opcode.BINARY, 3, 15))
    payload = draw(mostly([b"", b"text", b"\x03\xe8", b"\x03\xe8bye"], b"\xff\xff", bytes(126), bytes(5_000)))
    first = draw(mostly([0x80], 0, 0xC0, 0x40)) | opcode
    mask = draw(mostly([0x80], 0))
    length = bytes([mask | len(payload)]) if len(payload) < 126 else struct.pack(">BH", mask | 126, len(payload))
    return bytes([first]) + length + (bytes(4) if mask else b"") + payload


@st.composite
def mutated(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> list[bytes]:
    """A few of these parts, perhaps with a change, in packets of any size."""
    data = b"".join(draw(st.lists(parts, min_size=1, max_size=4)))
    if draw(mostly([False], True)):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=8)) + data[at + draw(st.integers(0, 8)) :]
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def comparable(answer: bytes) -> bytes:
    """What must be the same for every division into packets.

    A client may send no frame before its WebSocket is accepted, so what becomes of one does not matter.
    """
    head, _, body = _CHANGING.sub(b"", answer).partition(b"\r\n\r\n")
    return head if head.startswith(b"HTTP/1.1 101") else head + body


def status_of_well_formed(answer: bytes, *, has_ended: bool) -> bytes:
    """The status of an answer, complete unless it is a stream. Fails if it is not valid HTTP/1.1."""
    head, end, body = answer.partition(b"\r\n\r\n")
    assert end, answer
    status_line, *lines = head.split(b"\r\n")
    assert _STATUS_LINE.fullmatch(status_line), status_line
    assert all(_HEADER.fullmatch(line) for line in lines), lines
    headers = dict(line.lower().split(b": ", 1) for line in lines)
    status = status_line.split()[1]
    if b"content-length" in headers:
        assert has_ended
        assert body == b"" or int(headers[b"content-length"]) == len(body)
    elif has_ended and status != b"101":
        assert body == b""
    return status


@settings(max_examples=300, deadline=None)
@given(mutated(st.one_of(requests(), st.binary(max_size=60))))
@example([b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"])
@example([b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000)])
@in_loop
async def test_a_connection_gets_one_well_formed_answer_or_its_end(pieces: list[bytes]) -> None:
    server = new_server()
    data = b"".join(pieces)
    # Byte by byte, nothing that follows a request can be in the same packet.
    in_packets = (pieces, [data], [data[at : at + 1] for at in range(len(data))])
    transports = [FakeTransport(Handshake(server)) for _ in in_packets]
    try:
        for transport, packets in zip(transports, in_packets, strict=True):
            transport.feed(packets)
        assert len({comparable(transport.sent) for transport in transports}) == 1, "the answer depends on the packets"
        (first, *_) = transports
        if first.sent:
            status = status_of_well_formed(first.sent, has_ended=first.has_ended)
            assert first.has_ended or status in {b"200", b"101"}
        first.end()
        assert first.is_cut == (first.has_ended or not first.sent)
    finally:
        for transport in transports:
            transport.release()
    assert len(server.audience) == 0


@settings(max_examples=400, deadline=None)
@given(mutated(st.one_of(websocket_frames(), st.binary(max_size=20))))
@in_loop
async def test_a_websocket_gets_proper_frames_or_its_end(pieces: list[bytes]) -> None:
    with connected() as (server, transport):
        transport.feed([_WEBSOCKET])
        transport.feed(pieces)
        head, _, received = transport.sent.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        client = ClientProtocol(parse_uri("ws://x/v1/ws"), state=State.OPEN)
        client.receive_data(received)
        opcodes = [event.opcode for event in client.events_received() if isinstance(event, Frame)]
        assert client.parser_exc is None
        assert opcodes[0] is Opcode.TEXT
        assert set(opcodes[1:]) <= {Opcode.PONG, Opcode.CLOSE}
        assert (Opcode.CLOSE in opcodes) == transport.is_cut
        publish(server, 4)
        assert (b'"id":"s-4"' in transport.fanned_out()) == (not transport.is_cut)
