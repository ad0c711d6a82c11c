"""Who may watch: a viewer shows its token in any of three places, and leaves when that has expired."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from emostream.config import TokensSettings
from emostream.subscriber import metrics
from emostream.tokens.gate import Gate
from tests.unit.subscriber.rig import connected, in_loop
from tests.unit.subscriber.test_audience import House
from tests.unit.subscriber.test_server import UPGRADE, body_of, head_of, status_of
from tests.unit.tokens.signing import SECRET, signed


def now() -> int:
    return int(time.time())


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    return Gate(TokensSettings(secret_file=str(file), jitter_seconds=0))


def token(**changes: Any) -> str:
    return signed(**{"exp": now() + 60, "events": ["main"], **changes})


def stream(*headers: str, query: str = "") -> bytes:
    return "\r\n".join([f"GET /v1/stream{query} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def websocket(*headers: str, query: str = "") -> bytes:
    return (
        f"GET /v1/ws{query} HTTP/1.1\r\n".encode()
        + UPGRADE
        + "".join(f"{each}\r\n" for each in headers).encode()
        + b"\r\n"
    )


async def answer_to(gate: Gate | None, request: bytes) -> bytes:
    with connected(gate) as (_, transport):
        transport.feed([request])
        return transport.sent


@in_loop
async def test_a_viewer_shows_its_token_in_a_header_in_the_query_or_as_a_subprotocol(gate: Gate) -> None:
    good = token()
    for request in (
        stream(f"Authorization: Bearer {good}"),
        stream(query=f"?access_token={good}"),
        websocket(f"Authorization: Bearer {good}"),
        websocket(query=f"?access_token={good}"),
        websocket(f"Sec-WebSocket-Protocol: emostream, {good}"),
    ):
        answer = await answer_to(gate, request)
        assert status_of(answer) in {200, 101}, answer
        assert b"snapshot" in answer


@in_loop
async def test_a_browser_gets_the_subprotocol_that_it_offered(gate: Gate) -> None:
    offered = await answer_to(gate, websocket(f"Sec-WebSocket-Protocol: emostream, {token()}"))
    assert head_of(offered)["sec-websocket-protocol"] == "emostream"
    assert "sec-websocket-protocol" not in head_of(await answer_to(None, websocket()))
    # Also where no token is needed, or the browser would not connect.
    free = await answer_to(None, websocket(f"Sec-WebSocket-Protocol: emostream, {token()}"))
    assert head_of(free)["sec-websocket-protocol"] == "emostream"


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/trace?sequence=2"])
@in_loop
async def test_without_a_good_token_nothing_is_told(tmp_path: Path, path: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    gate = Gate(TokensSettings(secret_file=str(file)))
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n"
    for wrong, status in (
        ("", 401),
        (token(exp=now() - 60), 401),
        (token(may=["react"]), 403),
        (token(events=["final"]), 403),
    ):
        header = f"Authorization: Bearer {wrong}\r\n" if wrong else ""
        answer = await answer_to(gate, f"{request}{header}\r\n".encode())
        assert status_of(answer) == status
        assert head_of(answer)["www-authenticate"].startswith("Bearer")
        assert json.loads(body_of(answer))["detail"]
        assert b"\xf0" not in answer
    assert status_of(await answer_to(gate, f"{request}Authorization: Bearer {token()}\r\n\r\n".encode())) == 200


@in_loop
async def test_a_websocket_without_a_token_is_refused_before_it_is_open(gate: Gate) -> None:
    assert status_of(await answer_to(gate, websocket())) == 401


@in_loop
async def test_the_token_decides_about_its_event_before_it_is_said_whether_there_is_one(gate: Gate) -> None:
    request = stream(f"Authorization: Bearer {token()}").replace(b"/v1/stream", b"/v1/events/secret/stream")
    assert status_of(await answer_to(gate, request)) == 403


@pytest.mark.parametrize("kind", ["sse", "ws"])
@in_loop
async def test_a_stream_ends_when_its_token_has_expired(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    gate = Gate(TokensSettings(secret_file=str(file), jitter_seconds=0))
    header = f"Authorization: Bearer {token(exp=now() + 5)}"
    with connected(gate) as (server, transport):
        transport.feed([stream(header) if kind == "sse" else websocket(header)])
        now_ms = time.monotonic_ns() // 1_000_000
        server.audience.sweep(now_ms + 2_000)
        assert not re.search(rb"goodbye", transport.sent)
        server.audience.sweep(now_ms + 8_000)
        assert re.search(rb'"reason":"expired"', transport.sent)
        assert len(server.audience.viewers()) == 0


@in_loop
async def test_those_without_a_token_stay(gate: Gate) -> None:
    with connected() as (server, transport):
        transport.feed([stream()])
        server.audience.sweep(time.monotonic_ns() // 1_000_000 + 10**9)
        assert b"goodbye" not in transport.sent
    assert gate.jitter_seconds == 0


def test_a_viewer_that_left_before_is_forgotten_with_its_time() -> None:
    house = House()
    house.publish("s", 1)
    before = metrics.EXPIRIES._value.get()
    viewers = [house.join(leaves_at=leaves_at) for leaves_at in (10, 10, 11)]
    house.audience.leave(viewers[0])
    assert {second: len(group) for second, group in house.audience._expiring.items()} == {10: 1, 11: 1}
    house.audience.sweep(10_500)
    assert [viewer.goodbye for viewer in viewers] == [None, "expired", None]
    house.audience.sweep(11_000)
    assert viewers[2].goodbye == "expired"
    assert house.audience._expiring == {}
    assert metrics.EXPIRIES._value.get() == before + 2
