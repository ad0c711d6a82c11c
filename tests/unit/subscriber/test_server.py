"""The answer to a request in any packets, and what happens to connections that send no request."""

import asyncio
import itertools
import json
import time
import zlib
from collections.abc import Callable

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream import model
from emostream.subscriber import frames
from emostream.subscriber.connection import DeflateWebSocketViewer, Handshake
from tests.unit.subscriber.examples import entry
from tests.unit.subscriber.rig import FakeTransport, connected, exchange, in_loop, publish

STREAM = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
WEBSOCKET = b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE
GZIP = b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
# As Chromium offers it.
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def packets(data: bytes, size_bytes: int) -> list[bytes]:
    return [data[start : start + size_bytes] for start in range(0, len(data), size_bytes)]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (nothing that is tested knows an event to set)
            await asyncio.sleep(0.01)


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


def head_of(answer: bytes) -> dict[str, str]:
    """Headers by lower-case name. Values of a repeated header are joined."""
    headers: dict[str, str] = {}
    for line in answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return headers


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_the_first_of_two_requests_in_one_packet_gets_its_own_answer() -> None:
    answer = exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /nothing HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    assert body_of(answer) == b'{"status":"alive"}'


def test_what_follows_a_request_does_not_matter() -> None:
    assert status_of(exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01 no request")) == 200


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/ws", "/v1/trace?sequence=2", "/healthz", "/readyz", "/nothing"])
@in_loop
async def test_head_gets_the_headers_of_get_and_takes_no_seat(path: str) -> None:
    with connected() as (server, transport), connected() as (_, getting):
        transport.feed([f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()])
        getting.feed([f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()])
        assert transport.has_ended
        assert len(server.audience) == 0
    got = getting.sent
    assert status_of(transport.sent) == status_of(got)
    assert head_of(transport.sent).keys() == head_of(got).keys()
    assert transport.sent.endswith(b"\r\n\r\n")
    assert body_of(transport.sent) == b""


def test_head_gets_no_websocket() -> None:
    answer = exchange(b"HEAD /v1/ws HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    assert (status_of(answer), body_of(answer)) == (426, b"")


@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nhost: y\r\n"])
def test_http_1_1_has_one_host(hosts: bytes) -> None:
    answer = exchange(b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n")
    assert status_of(answer) == 400
    assert "Host" in json.loads(body_of(answer))["detail"]
    assert status_of(exchange(b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


def test_head_gets_a_refusal_without_its_body() -> None:
    answer = exchange(b"HEAD /healthz HTTP/1.1\r\na\r\n\r\n")
    assert (status_of(answer), body_of(answer)) == (400, b"")


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId", "Last-Event-ID"])
@pytest.mark.parametrize("packet", [STREAM, WEBSOCKET])
def test_a_viewer_resumes_by_each_name_that_polyfills_use(name: str, packet: bytes) -> None:
    answer = exchange(packet.replace(b" HTTP", f"?{name}=s-1 HTTP".encode(), 1) + b"\r\n")
    assert b"snapshot" not in answer
    assert b'"id":"s-2"' in answer
    assert b'"id":"s-3"' in answer


def test_a_viewer_of_a_future_that_was_undone_gets_a_reset() -> None:
    answer = exchange(STREAM + b"Last-Event-ID: s-999999999\r\n\r\n")
    assert b"event: reset\nid: s-3\n" in answer


def test_what_a_polyfill_adds_is_newer_than_the_url_of_the_page() -> None:
    answer = exchange(b"GET /v1/stream?last_event_id=s-1&lastEventId=s-2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'"id":"s-2"' not in answer
    assert b'"id":"s-3"' in answer


@pytest.mark.parametrize(("path", "status"), [("/v1/stream", 405), ("/nothing", 404)])
@pytest.mark.parametrize("packet_bytes", [100, 1 << 20])
def test_a_long_body_is_not_taken_for_a_head(path: str, status: int, packet_bytes: int) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n".encode() + b"x" * 20_000
    answer = exchange(*packets(request, packet_bytes))
    assert status_of(answer) == status


@pytest.mark.parametrize("packet_bytes", [1_000, 1 << 20])
@pytest.mark.parametrize(("cookie_bytes", "status"), [(15_000, 200), (17_000, 431)])
def test_a_head_may_have_sixteen_kib(packet_bytes: int, cookie_bytes: int, status: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: a=" + b"x" * cookie_bytes + b"\r\n\r\n"
    assert status_of(exchange(*packets(request, packet_bytes))) == status


@pytest.mark.parametrize("packet_bytes", [100, 1 << 20])
def test_a_head_of_too_many_headers_is_refused(packet_bytes: int) -> None:
    request = STREAM + b"a:b\r\n" * 1_000 + b"\r\n"
    assert status_of(exchange(*packets(request, packet_bytes))) == 431


def test_a_page_may_send_any_header() -> None:
    asked = b"Origin: https://a.example\r\nAccess-Control-Request-Headers: last-event-id, sentry-trace\r\n\r\n"
    answer = head_of(exchange(b"OPTIONS /v1/stream HTTP/1.1\r\nHost: x\r\n" + asked))
    assert answer["access-control-allow-headers"] == "last-event-id, sentry-trace"
    assert answer["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "packet",
    [
        STREAM,
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/stream HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/trace HTTP/1.1\r\nHost: x\r\n",
        b"OPTIONS /v1/stream HTTP/1.1\r\nHost: x\r\n",
        b"GET /healthz HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nCookie: " + b"x" * (16 << 10) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n",
    ],
)
def test_each_answer_can_be_read_by_the_pages_that_may(packet: bytes) -> None:
    line, _, rest = packet.partition(b"\r\n")
    allowed = "https://a.example"
    with_origin = line + b"\r\nOrigin: https://a.example\r\n" + rest + b"\r\n"
    answer = head_of(exchange(with_origin, cors_origins=(allowed,)))
    assert answer["access-control-allow-origin"] == allowed
    assert "Origin" in answer["vary"]
    assert "Retry-After" in answer["access-control-expose-headers"]
    assert head_of(exchange(with_origin))["access-control-allow-origin"] == "*"
    other = head_of(exchange(with_origin, cors_origins=("https://b.example",)))
    assert "access-control-allow-origin" not in other
    assert "Origin" in other["vary"]


@in_loop
async def test_a_request_that_is_late_can_be_read_by_the_page_that_sent_it() -> None:
    with connected() as (_, transport):
        transport.feed([b"GET / HTTP/1.1\r\n"])
        transport.protocol.expire()
    assert status_of(transport.sent) == 408
    assert head_of(transport.sent)["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("packet", "heartbeat"),
    [
        (STREAM, frames.HEARTBEAT.sse),
        (WEBSOCKET, frames.HEARTBEAT.ws),
        (STREAM.replace(b" HTTP", b"?heartbeats=1 HTTP", 1), frames.VISIBLE_HEARTBEAT.sse),
        (STREAM + GZIP, frames.HEARTBEAT[frames.SSE_GZIP]),
        (STREAM.replace(b" HTTP", b"?heartbeats=1 HTTP", 1) + GZIP, frames.VISIBLE_HEARTBEAT[frames.SSE_GZIP]),
        (WEBSOCKET + DEFLATE, frames.HEARTBEAT.ws),
    ],
)
@in_loop
async def test_who_ends_what_it_sends_gets_heartbeats_and_keeps_its_seat(packet: bytes, heartbeat: bytes) -> None:
    with connected() as (server, transport):
        transport.feed([packet + b"\r\n"])
        before = transport.sent
        transport.end()
        assert transport.sent == before + heartbeat
        assert not transport.is_cut
        publish(server, 4)
        [viewer] = server.audience.viewers()
        assert transport.fanned_out() == entry("s", 4).frames[viewer.kind]


@in_loop
async def test_a_viewer_in_gzip_reads_a_stream_that_has_no_seam() -> None:
    with connected() as (server, transport):
        transport.feed([STREAM + GZIP + b"\r\n"])
        publish(server, 4)
        [viewer] = server.audience.viewers()
        server.audience.dismiss(viewer, "draining", 0)
        head, _, body = transport.sent.partition(b"\r\n\r\n")
        goodbye = frames.of(model.Goodbye())
        body = body.removesuffix(goodbye[frames.SSE_GZIP]) + transport.fanned_out() + goodbye[frames.SSE_GZIP]
    assert b"Content-Encoding: gzip" in head
    retry, text = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(body).split(b"\n\n", 1)
    assert retry.startswith(b"retry: ")
    assert text.startswith(b"event: snapshot\nid: s-3\n")
    assert text.endswith(entry("s", 4).frames.sse + goodbye.sse)


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        (b"", False),
        (b"Accept-Encoding: gzip\r\n", True),
        (b"Accept-Encoding: br , GZIP;q=0.5\r\n", True),
        (b"Accept-Encoding: *\r\n", True),
        (b"Accept-Encoding: gzip;q=0, *\r\n", False),
        (b"Accept-Encoding: gzip; q=0.000\r\n", False),
        (b"Accept-Encoding: identity, *;q=0\r\n", False),
        (b"Accept-Encoding: deflate, br\r\n", False),
    ],
)
def test_who_accepts_gzip_gets_it(accepted: bytes, *, is_compressed: bool) -> None:
    headers = head_of(exchange(STREAM + accepted + b"\r\n"))
    assert (headers.get("content-encoding") == "gzip") == is_compressed
    assert "Accept-Encoding" in headers["vary"]


@pytest.mark.parametrize(
    ("offered", "is_compressed"),
    [
        (b"", False),
        (DEFLATE, True),
        (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", True),
        (b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", True),
        # All viewers share what is compressed with the full window.
        (b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n", False),
        (b"Sec-WebSocket-Extensions: x-unknown\r\n", False),
    ],
)
def test_who_offers_to_read_compressed_messages_gets_them(offered: bytes, *, is_compressed: bool) -> None:
    assert ("sec-websocket-extensions" in head_of(exchange(WEBSOCKET + offered + b"\r\n"))) == is_compressed


@pytest.mark.parametrize("packet", [STREAM + GZIP, WEBSOCKET + DEFLATE])
def test_an_operator_can_turn_compression_off(packet: bytes) -> None:
    answer = exchange(packet + b"\r\n", compression=False)
    assert head_of(answer).keys().isdisjoint({"content-encoding", "sec-websocket-extensions"})
    assert b'"id":"s-3"' in answer


def test_a_viewer_gets_the_form_that_it_asks_for() -> None:
    for query, form in ((b"form=full", frames.FULL), (b"form=compact", frames.COMPACT)):
        swarms = exchange(STREAM.replace(b" HTTP", b"?last_event_id=s-1&%s HTTP" % query, 1) + b"\r\n")
        assert swarms.endswith(b"".join(entry("s", sequence).frames[frames.SSE + form] for sequence in (2, 3)))
        swarms = exchange(WEBSOCKET.replace(b" HTTP", b"?last_event_id=s-2&%s HTTP" % query, 1) + DEFLATE + b"\r\n")
        assert swarms.endswith(b"\r\n\r\n" + entry("s", 3).frames[frames.WS_DEFLATE + form])


@pytest.mark.parametrize("packet", [STREAM, WEBSOCKET])
@pytest.mark.parametrize("form", [b"", b"short", b"compact2"])
def test_an_unknown_form_is_refused(packet: bytes, form: bytes) -> None:
    answer = exchange(packet.replace(b" HTTP", b"?form=%s HTTP" % form, 1) + b"\r\n")
    assert status_of(answer) == 400
    assert json.loads(body_of(answer))["detail"] == f"`form` is full or compact, not {form.decode()!r}."


@in_loop
async def test_what_a_viewer_sends_compressed_is_read() -> None:
    with connected() as (server, transport):
        transport.feed([WEBSOCKET + DEFLATE + b"\r\n"])
        client = ClientProtocol(parse_uri("ws://x/v1/ws"), state=State.OPEN)
        client.extensions = list(DeflateWebSocketViewer.extensions)
        client.send_text(b"ignored" * 100)
        client.send_ping(b"answer me")
        before = transport.sent
        transport.feed(client.data_to_send())
        client.receive_data(transport.sent.removeprefix(before))
        assert [event.opcode for event in client.events_received()] == [Opcode.PONG]
        assert len(server.audience) == 1


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
@in_loop
async def test_who_ends_before_it_has_asked_or_once_it_is_answered_is_gone(sent: bytes) -> None:
    with connected() as (_, transport):
        transport.feed([sent])
        transport.end()
        assert transport.is_cut


@in_loop
async def test_who_was_told_goodbye_and_ends_is_gone() -> None:
    with connected() as (server, transport):
        transport.feed([WEBSOCKET + b"\r\n"])
        (viewer,) = server.audience.viewers()
        server.audience.dismiss(viewer, "draining", 0)
        transport.end()
        assert transport.is_cut


@in_loop
async def test_a_clock_that_is_set_back_stops_neither_heartbeats_nor_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(heartbeat_ms=100) as (server, transport):
        transport.feed([STREAM + b"\r\n"])
        (viewer,) = server.audience.viewers()
        sweeping = asyncio.create_task(server.sweep_forever())
        await until(lambda: transport.sent.endswith(frames.HEARTBEAT.sse))
        monkeypatch.setattr(time, "time", lambda: 0.0)
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        before = transport.sent
        await until(lambda: transport.sent != before)
        async with asyncio.timeout(20):
            await server.drain()
        assert transport.is_cut
        assert viewer not in server.audience
        sweeping.cancel()


@in_loop
async def test_a_clock_that_is_set_back_holds_up_neither_a_drain_nor_the_end_of_a_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(10**9, -1_000)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    with connected(drain_timeout_ms=100, handshake_timeout_ms=100) as (server, silent):
        viewers = [FakeTransport(Handshake(server)) for _ in range(3)]
        for viewer in viewers:
            viewer.feed([STREAM + b"\r\n"])
        sweeping = asyncio.create_task(server.sweep_forever())
        await until(lambda: silent.has_ended)
        assert status_of(silent.sent) == 408
        async with asyncio.timeout(20):
            await server.drain()
        assert all(viewer.is_cut for viewer in viewers)
        sweeping.cancel()
        for viewer in viewers:
            viewer.release()
