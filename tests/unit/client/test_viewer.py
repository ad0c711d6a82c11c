"""A viewer finds its way through refusals, losses and gaps, against a registry and a subscriber that do as told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, cast

import pytest

from emostream import model
from emostream.client.errors import NoEventError
from emostream.client.viewer import Connecting, Ended, Live, Viewer, ViewerState, Waiting
from emostream.errors import EmoStreamError
from emostream.subscriber import frames, http
from emostream_lab.processes import servers

WINDOW = model.Window(0, 1)
HEAD = http.head(HTTPStatus.OK, [("Content-Type", "text/event-stream")])
FULL = http.problem(HTTPStatus.SERVICE_UNAVAILABLE, "full", [("Retry-After", "0")])


def swarm(sequence: int) -> bytes:
    counts = {"🔥": 1}
    return frames.of(model.Swarm(f"s-{sequence}", sequence, WINDOW, 1, counts, counts, {"🔥": sequence})).sse


def snapshot(sequence: int) -> bytes:
    return frames.of(model.Snapshot(f"s-{sequence}", sequence, {"🔥": sequence})).sse


END = frames.of(model.End("s-6", 6, {"🔥": 5})).sse
NO_EVENT = http.problem(HTTPStatus.NOT_FOUND, "There is no event final.", event="final")


class Stage:
    """One server that is registry and subscriber. Each stream gets the next of `scripts`; the last one is kept open."""

    def __init__(
        self, scripts: list[bytes], registry_refusals: int = 0, *, refusal: bytes = FULL, keep_open: bool = False
    ) -> None:
        self.events: list[str] = []
        self.excluded: list[list[str]] = []
        self.resumed_from: list[str | None] = []
        self._scripts = iter(scripts)
        self._last = scripts[-1]
        self._registry_refusals = registry_refusals
        self._refusal = refusal
        self._keep_open = keep_open
        self._answering: set[asyncio.Task[None]] = set()

    async def play(self, until: int) -> tuple[Viewer, list[int], list[ViewerState]]:
        """Run a viewer until it has seen sequence `until`."""
        sequences: list[int] = []
        states: list[ViewerState] = []
        done = asyncio.Event()

        def note(message: model.ViewerMessage) -> None:
            assert not isinstance(message, model.Goodbye)
            sequences.append(message.sequence)
            if message.sequence == until:
                done.set()

        async with self.serving() as url:
            viewer = Viewer(url, "u1", on_message=note, on_state=states.append)
            running = asyncio.create_task(viewer.run())
            async with asyncio.timeout(20):
                await done.wait()
            running.cancel()
            await asyncio.wait([running])
        return viewer, sequences, states

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The URL of its registry."""
        server = await asyncio.start_server(self._serve, servers.HOST, 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            async with server:
                yield f"http://{servers.HOST}:{self._port}"
        finally:
            await asyncio.wait(self._answering)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering.add(cast("asyncio.Task[None]", asyncio.current_task()))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        if head.startswith("POST"):
            request = json.loads(await reader.readexactly(int(headers["Content-Length"])))
            writer.write(self._assign(request))
        else:
            self.resumed_from.append(headers.get("Last-Event-ID"))
            script = next(self._scripts)
            writer.write(script)
            if script is self._last or self._keep_open:
                with contextlib.suppress(ConnectionError):
                    await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _assign(self, request: dict[str, Any]) -> bytes:
        self.events.append(request["event"])
        self.excluded.append(request["exclude"])
        if self._registry_refusals > 0:
            self._registry_refusals -= 1
            return self._refusal
        url = f"{servers.HOST}:{self._port}/v1/"
        name = f"c/{len(self.resumed_from)}"
        assignment = model.Assignment(name, "c", f"http://{url}stream", f"ws://{url}ws")
        return http.answer(HTTPStatus.OK, "application/json", model.encode(assignment))


def test_a_stream_is_watched_live() -> None:
    stage = Stage([HEAD + snapshot(4) + swarm(5) + swarm(6)])
    viewer, sequences, states = asyncio.run(stage.play(until=6))
    assert sequences == [4, 5, 6]
    assert states[-1] == Live("c/0", "c")
    assert viewer.watcher.resume_id == "s-6"


@pytest.mark.parametrize(
    "loss",
    [
        HEAD + snapshot(4) + swarm(5),
        HEAD + snapshot(4) + swarm(5) + swarm(6)[:-10],
        HEAD + snapshot(4) + swarm(5) + swarm(5) + swarm(7),
        HEAD + snapshot(4) + swarm(5) + frames.of(model.Goodbye()).sse,
        HEAD + snapshot(4) + swarm(5) + b"data: junk\n\n",
    ],
    ids=["closed", "cut", "gap", "goodbye", "junk"],
)
def test_after_a_loss_it_resumes_elsewhere_without_gap_or_repeat(loss: bytes) -> None:
    stage = Stage([loss, HEAD + swarm(6) + swarm(7)])
    _, sequences, states = asyncio.run(stage.play(until=7))
    assert sequences == [4, 5, 6, 7]
    assert stage.resumed_from == [None, "s-5"]
    assert stage.excluded == [[], ["c/0"]]
    assert len([state for state in states if isinstance(state, Waiting)]) == 1


def test_it_comes_through_refusals_of_the_registry_and_of_subscribers() -> None:
    stage = Stage([FULL, FULL, HEAD + snapshot(4)], registry_refusals=1)
    _, sequences, states = asyncio.run(stage.play(until=4))
    assert sequences == [4]
    assert stage.excluded == [[], [], ["c/0"], ["c/0", "c/1"]]
    assert [state.reason for state in states if isinstance(state, Waiting)] == ["full"] * 3


def watch_to_the_end(scripts: list[bytes]) -> tuple[Ended, list[object], Stage]:
    """Run a viewer until its event ends, and return what it returns and what it told its caller."""
    stage = Stage(scripts)
    told: list[object] = []

    async def run() -> Ended:
        async with stage.serving() as url:
            viewer = Viewer(url, "u1", event="final", on_message=told.append, on_state=told.append)
            async with asyncio.timeout(20):
                ended = await viewer.run()
                assert viewer.state == ended
                return ended

    return asyncio.run(run()), told, stage


def test_after_the_end_of_its_event_it_stops_with_the_final_totals() -> None:
    # The script after the last one would be kept open.
    ended, told, stage = watch_to_the_end([HEAD + snapshot(4) + swarm(5), HEAD + END, b""])
    assert ended == Ended({"🔥": 5})
    assert told[-2:] == [model.End("s-6", 6, {"🔥": 5}), ended]
    assert stage.resumed_from == [None, "s-5"]
    assert stage.events == ["final"] * 2


def test_when_nothing_more_comes_it_stops_with_the_totals_it_has() -> None:
    ended, _, stage = watch_to_the_end([HEAD + snapshot(4) + swarm(5), http.head(HTTPStatus.NO_CONTENT, []), b""])
    assert ended == Ended({"🔥": 5})
    assert stage.resumed_from == [None, "s-5"]


def test_an_event_that_is_not_there_is_an_error() -> None:
    stage = Stage([b""], registry_refusals=1, refusal=NO_EVENT)

    async def run() -> None:
        async with stage.serving() as url, asyncio.timeout(20):
            await Viewer(url, "u1", event="final").run()

    with pytest.raises(NoEventError, match="there is no event final"):
        asyncio.run(run())


@pytest.mark.parametrize("callback", ["on_message", "on_state"])
def test_what_a_callback_raises_ends_it_and_is_raised(callback: str) -> None:
    stage = Stage([HEAD + snapshot(4) + swarm(5)])
    error = ZeroDivisionError("the caller's")

    def fail(told: object) -> None:
        if not isinstance(told, Connecting):
            raise error

    async def run() -> None:
        async with stage.serving() as url:
            viewer = Viewer(url, "u1", **{callback: fail})  # type: ignore[arg-type]
            async with asyncio.timeout(20):
                await viewer.run()

    with pytest.raises(ZeroDivisionError, match="the caller's"):
        asyncio.run(run())
    assert stage.excluded == [[]]


def test_a_stream_that_announced_its_heartbeat_and_falls_silent_is_given_up_soon() -> None:
    hello = frames.of(model.Hello(heartbeat_ms=0)).sse
    stage = Stage([HEAD + hello + snapshot(4), HEAD + swarm(5)], keep_open=True)
    _, sequences, states = asyncio.run(stage.play(until=5))
    assert sequences == [4, 5]
    assert [state.reason for state in states if isinstance(state, Waiting)] == ["the subscriber is silent"]


def test_nobody_there_is_waited_for() -> None:
    states: list[ViewerState] = []

    async def run() -> None:
        second_try = asyncio.Event()

        def note(state: ViewerState) -> None:
            states.append(state)
            if len(states) == 3:
                second_try.set()

        viewer = Viewer(f"http://{servers.HOST}:{servers.free_port()}", "u1", on_state=note)
        running = asyncio.create_task(viewer.run())
        async with asyncio.timeout(10):
            await second_try.wait()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())
    assert isinstance(states[1], Waiting)
    assert "registry" in states[1].reason


def test_no_viewer_is_of_what_is_no_id_of_an_event() -> None:
    with pytest.raises(EmoStreamError, match=r"'\.\./main' is no id of an event"):
        Viewer("http://localhost", "u1", event="../main")
