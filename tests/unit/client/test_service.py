"""What a client asks before it sends or watches, and what it makes of the answers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from emostream.client import NoEventError, OpenEvent, fetch_events, fetch_ingest_url, fetch_palette
from emostream.errors import EmoStreamError
from emostream_lab.processes import servers

T = TypeVar("T")


def ask(question: Callable[[str], Coroutine[Any, Any, T]], status: str, body: str) -> tuple[T, str]:
    """Ask a server with this answer. Returns what the client makes of it, and the line that the server was asked."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        data = body.encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        writer.close()

    async def run() -> T:
        server = await asyncio.start_server(serve, servers.HOST, 0)
        async with server:
            return await question(f"http://{servers.HOST}:{server.sockets[0].getsockname()[1]}")

    return asyncio.run(run()), asked[0]


def fetch(event: str, status: str, body: str) -> tuple[Sequence[str], str]:
    return ask(lambda url: fetch_palette(url, event), status, body)


def test_each_event_has_a_palette_of_its_own() -> None:
    assert fetch("final", "200 OK", '{"emoji": ["🔥"], "any": false}') == (
        ["🔥"],
        "GET /v1/events/final/palette HTTP/1.1",
    )
    assert fetch("main", "200 OK", '{"emoji": ["🔥"], "any": false}')[1] == "GET /v1/palette HTTP/1.1"


def test_a_closed_event_takes_no_emoji_but_can_be_watched() -> None:
    assert fetch("final", "410 Gone", '{"detail": "The event final is closed.", "event": "final"}')[0] == []


def test_an_event_that_is_not_there_is_told_from_an_ingest_that_is_not() -> None:
    with pytest.raises(NoEventError, match="there is no event final"):
        fetch("final", "404 Not Found", '{"detail": "There is no event final.", "event": "final"}')
    with pytest.raises(EmoStreamError, match=r"/v1/events/final/palette refuses: the answer was 404$"):
        fetch("final", "404 Not Found", "<h1>Not Found</h1>")


def test_the_reason_is_told_for_which_there_is_no_palette_yet() -> None:
    with pytest.raises(EmoStreamError, match=r"refuses: The event final is being opened\.$"):
        fetch("final", "503 Service Unavailable", '{"detail": "The event final is being opened.", "event": "final"}')


def test_the_registry_says_where_ingest_is() -> None:
    answer = '{"ingest_url": "https://ingest.example", "live_topology": false}'
    assert ask(fetch_ingest_url, "200 OK", answer) == ("https://ingest.example", "GET /v1/config HTTP/1.1")
    at_the_same_address, _ = ask(fetch_ingest_url, "200 OK", '{"ingest_url": ""}')
    assert at_the_same_address.startswith("http://127.0.0.1:")


def test_the_registry_says_which_events_are_open() -> None:
    event = '{"event":"main","title":"Main","viewers":5,"reactions":100,"reactions_per_second":1.5}'
    events, asked = ask(fetch_events, "200 OK", f'{{"events": [{event}]}}')
    assert (events, asked) == ([OpenEvent("main", "Main", 5, 100, 1.5)], "GET /v1/events HTTP/1.1")


@pytest.mark.parametrize("question", [fetch_events, fetch_ingest_url, fetch_palette])
def test_an_address_of_another_service_is_told(question: Callable[[str], Coroutine[Any, Any, object]]) -> None:
    with pytest.raises(EmoStreamError, match="gives another answer than EmoStream's"):
        ask(question, "200 OK", "<h1>Log in</h1>")
    with pytest.raises(EmoStreamError, match="does not answer"):
        asyncio.run(question(f"http://{servers.HOST}:{servers.free_port()}"))  # type: ignore[arg-type]
