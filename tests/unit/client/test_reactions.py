"""The sender tells what is certain from what is not, against a server that does as each test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emostream.client import reactions
from emostream.client.outcome import Accepted, Outcome, Refused, Unknown
from emostream.client.reactions import ReactionSender
from emostream.client.token import TokenSource
from emostream.errors import EmoStreamError
from emostream.model import MAIN, Reaction, Record
from emostream_lab.processes import servers

REACTION = Reaction("u1", "🔥", 1)
BODY = b'{"accepted": 1, "record": {"partition": 1, "offset": 7, "timestamp": 9}}'
ACCEPTANCE = b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def sending_to(
    serve: Serve, max_connections: int = 8, event: str = MAIN, token: TokenSource | None = None
) -> AsyncIterator[ReactionSender]:
    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve_and_close, servers.HOST, 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://{servers.HOST}:{port}"
    async with server, ReactionSender(url, max_connections, event=event, token=token) as sender:
        yield sender


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def send_one(serve: Serve) -> Outcome:
    async def run() -> Outcome:
        async with sending_to(serve) as sender:
            return await sender.send([REACTION])

    return asyncio.run(run())


def test_one_connection_carries_request_after_request() -> None:
    connections = []
    bodies = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            bodies.append(await read_request(reader))
            writer.write(ACCEPTANCE)

    async def run() -> list[Outcome]:
        async with sending_to(serve) as sender:
            return [await sender.send([REACTION]) for _ in range(3)]

    assert asyncio.run(run()) == [Accepted(1, Record(1, 7, 9))] * 3
    assert len(connections) == 1
    assert bodies[0] == '[{"user_id":"u1","emoji_type":"🔥","timestamp":1}]'.encode()


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (MAIN, "/v1/reactions"),
        ("final", "/v1/events/final/reactions"),
    ],
)
def test_an_event_that_takes_nothing_refuses(event: str, path: str) -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 410 Gone\r\nContent-Length: 24\r\n\r\n{"detail": "It is over"}')

    async def run() -> Outcome:
        async with sending_to(serve, event=event) as sender:
            return await sender.send([REACTION])

    assert asyncio.run(run()) == Refused("It is over")
    assert heads[0].startswith(f"POST {path} HTTP/1.1".encode())


@pytest.mark.parametrize("event", ["..", "a/b", "Final", "final?x=1", ""])
def test_nothing_is_sent_to_what_is_no_id_of_an_event(event: str) -> None:
    with pytest.raises(EmoStreamError, match="is no id of an event: it has 1 to 48 of a-z"):
        ReactionSender("http://localhost", event=event)


def test_requests_past_the_connections_wait_for_their_turn() -> None:
    open_now = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        while True:
            await read_request(reader)
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0)
            open_now -= 1
            writer.write(ACCEPTANCE)

    async def run() -> list[Outcome]:
        async with sending_to(serve, max_connections=2) as sender:
            return await asyncio.gather(*(sender.send([REACTION]) for _ in range(20)))

    assert all(isinstance(outcome, Accepted) for outcome in asyncio.run(run()))
    assert most <= 2


def test_nobody_there_is_a_refusal() -> None:
    async def run() -> Outcome:
        async with ReactionSender(f"http://{servers.HOST}:{servers.free_port()}") as sender:
            return await sender.send([REACTION])

    assert isinstance(asyncio.run(run()), Refused)


def test_a_connection_lost_after_sending_is_unknown() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await read_request(reader)

    assert isinstance(send_one(serve), Unknown)


def test_a_connection_lost_within_the_answer_is_unknown() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTANCE[:-1])

    assert isinstance(send_one(serve), Unknown)


def test_an_answer_that_is_no_http_is_unknown() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

    assert isinstance(send_one(serve), Unknown)


def test_after_a_lost_or_closing_connection_the_next_one_is_used() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        if connections > 1:
            writer.write(ACCEPTANCE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async def run() -> list[Outcome]:
        async with sending_to(serve) as sender:
            return [await sender.send([REACTION]) for _ in range(3)]

    assert [type(outcome) for outcome in asyncio.run(run())] == [Unknown, Accepted, Accepted]
    assert connections == 3


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "_MAX_IDLE_SECONDS", 0)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(ACCEPTANCE)

    async def run() -> list[Outcome]:
        async with sending_to(serve) as sender:
            return [await sender.send([REACTION]) for _ in range(2)]

    assert [type(outcome) for outcome in asyncio.run(run())] == [Accepted, Accepted]
    assert connections == 2


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("is_renewed", [True, False])
def test_after_a_refusal_one_more_request_has_a_new_token(status: int, is_renewed: bool) -> None:
    heads = []
    tokens = iter(["old", "new", "newer"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            is_good = is_renewed and b"Bearer new\r\n" in head
            writer.write(ACCEPTANCE if is_good else b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)

    async def renew() -> str:
        return next(tokens)

    async def run() -> Outcome:
        async with sending_to(serve, token=renew) as sender:
            return await sender.send([REACTION])

    outcome = asyncio.run(run())
    assert isinstance(outcome, Accepted if is_renewed else Refused)
    sent = [head.split(b"Authorization: ")[1].split(b"\r\n")[0] for head in heads]
    assert sent == [b"Bearer old", b"Bearer new"]


def test_a_token_that_is_a_text_is_not_tried_twice() -> None:
    requests = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            requests.append(await read_request(reader))
            writer.write(b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n")

    async def run() -> Outcome:
        async with sending_to(serve, token="old") as sender:  # noqa: S106
            return await sender.send([REACTION])

    assert isinstance(asyncio.run(run()), Refused)
    assert len(requests) == 1
