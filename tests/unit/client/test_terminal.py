"""What the terminal client asks before it draws anything, and what it refuses."""

import asyncio

import pytest
from click.testing import CliRunner

from emostream import cli
from emostream.client.errors import NoEventError
from emostream.client.terminal import fetch_palette
from emostream.errors import EmoStreamError
from emostream_lab.processes import servers


def fetch(event: str, status: str, body: str) -> tuple[list[str], str]:
    """Fetch a palette of a server with this answer. Returns it with the line that the server was asked."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        data = body.encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        writer.close()

    async def run() -> list[str]:
        server = await asyncio.start_server(serve, servers.HOST, 0)
        async with server:
            return await fetch_palette(f"http://{servers.HOST}:{server.sockets[0].getsockname()[1]}", event)

    return asyncio.run(run()), asked[0]


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
    with pytest.raises(EmoStreamError, match="EMOSTREAM_CLIENT_INGEST_URL"):
        fetch("final", "404 Not Found", "<h1>Not Found</h1>")


def test_the_reason_is_told_for_which_there_is_no_palette_yet() -> None:
    with pytest.raises(EmoStreamError, match=r"gives no palette now: The event final is being opened\.$"):
        fetch("final", "503 Service Unavailable", '{"detail": "The event final is being opened.", "event": "final"}')


@pytest.mark.parametrize("command", [["client", "--json"], ["verify", "--subscribers", "1"]])
@pytest.mark.parametrize("event", ["Final", "a" * 49, "-final", "a/b", ".", "..", ""])
def test_what_is_no_id_of_an_event_is_refused_before_anybody_is_asked(event: str, command: list[str]) -> None:
    refused = CliRunner().invoke(cli.main, [*command, "--event", event])
    assert refused.exit_code == 1
    assert "is no id of an event: it has 1 to 48 of a-z, 0-9 and -, and does not begin with -" in refused.stderr
