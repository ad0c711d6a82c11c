"""A pipeline in one small process that loses or doubles reactions on request, as the real one never does.

It answers as ingest, the registry and one subscriber do, and makes a swarm of what came four times a second. For tests
of what checks the real one: `python -m tests.stand_in PORT [FAULT]`.
"""

import asyncio
import base64
import hashlib
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from emostream import model
from emostream.subscriber import frames
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST, free_port

TRIGGER_SECONDS = 0.25
PALETTE = ["🔥", "❤️", "😂", "👏"]
STREAM = "standin"
# The sequence at which a fault happens. A fault of a viewer waits until one of the audience watches.
FAULTY_SEQUENCE = 8
# Viewers of the checks themselves. A loss at one of the audience must be noticed too.
JUDGE = "/load-judge"
CHECKERS = {"/load-witness", JUDGE}

FAULTS = {
    "none": "nothing goes wrong",
    "drop": "one viewer does not get one swarm",
    "double": "one viewer gets one swarm twice",
    "lose": "one reaction is accepted and never counted",
    "invent": "one reaction is counted that nobody sent",
    "differ": "one viewer gets other counts than the rest",
    "refuse": "every fiftieth request is refused",
    "hang-up": "the judge's own viewer loses its connection",
    "absent": "the workers' own viewers are told that there is no other event than `main`",
    "cross": "one reaction is accepted for `main` and counted in another event",
}


def stand_in(directory: Path, fault: str = "none") -> tuple[Process, str]:
    """A stand-in that is yet to be started, and its one URL."""
    port = free_port()

    command = [sys.executable, "-m", "tests.stand_in", str(port), fault]
    return Process(
        "stand-in", command, log_file=directory / "stand-in.log", probe=lambda: accepts(port)
    ), f"http://{HOST}:{port}"


def accepts(port: int) -> bool:
    """Check that the server listens. Raises OSError if not."""
    with socket.create_connection((HOST, port), timeout=1):
        return True


class Event:
    """The swarms of one event, and everyone who watches it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.totals: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        # The end of each swarm's window, and the end of the records that it covers.
        self.counted: dict[int, tuple[int, int]] = {}
        self.history: dict[int, frames.Frames] = {}
        self.viewers: dict[asyncio.StreamWriter, int] = {}

    def swarm(self, counts: Counter[str]) -> model.Swarm:
        return model.Swarm(
            id=model.message_id(STREAM, self.sequence),
            sequence=self.sequence,
            window=model.Window(_now_ms() - 250, _now_ms()),
            reactions=counts.total(),
            counts=dict(counts),
            swarm=dict.fromkeys(counts, 1),
            totals={emoji: self.totals[emoji] for emoji in counts},
        )


class StandIn:
    """Every event that somebody asks for."""

    def __init__(self, port: int, fault: str) -> None:
        self._url = f"{HOST}:{port}"
        self._fault = fault
        self._events: dict[str, Event] = {}
        self._records = 0
        self._requests = 0
        self._audience: set[asyncio.StreamWriter] = set()
        self._has_wronged = False
        self._judge: asyncio.StreamWriter | None = None

    def _event(self, name: str) -> Event:
        return self._events.setdefault(name, Event(name))

    async def count_forever(self) -> None:
        while True:
            await asyncio.sleep(TRIGGER_SECONDS)
            for event in list(self._events.values()):
                if event.waiting:
                    self._make_swarm(event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for event in self._events.values():
                event.viewers.pop(writer, None)
            self._audience.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        target = urlsplit(request_line.split(" ")[1])
        query = dict(parse_qsl(target.query))
        # The path of a stream begins with the viewer that was assigned to it.
        user_id, _, name = target.path.rpartition("/v1/")
        event = self._event(model.MAIN)
        if name.startswith("events/"):
            _, of, name = name.split("/")
            event = self._event(of)
        match f"/v1/{name}":
            case "/v1/palette":
                _reply(writer, 200, model.Palette(PALETTE, any=False))
            case "/v1/topology":
                _reply(writer, 200, {"subscribers": []})
            case "/v1/assignments":
                _reply(writer, *self._assign(**msgspec.json.decode(body)))
            case "/v1/reactions":
                _reply(writer, *self._take(event, body))
            case "/v1/trace":
                _reply(writer, *self._trace(event, int(query["sequence"])))
            case "/v1/stream" | "/v1/ws":
                if user_id not in CHECKERS:
                    self._audience.add(writer)
                if user_id == JUDGE:
                    self._judge = writer
                await self._join(event, reader, writer, headers, query.get("last_event_id"))
                return False
            case _:
                _reply(writer, 404, {"detail": f"nothing at {target.path}"})
        return True

    def _assign(self, user_id: str, event: str, **_: object) -> tuple[int, dict[str, str]]:
        if self._fault == "absent" and user_id == "load-witness" and event != model.MAIN:
            return 404, {"detail": f"There is no event {event}.", "event": event}
        base = f"{self._url}/{user_id}{model.event_path(event)}"
        streams = {f"{kind}_url": f"{scheme}://{base}/{name}" for kind, scheme, name in _STREAMS}
        return 200, {"subscriber": "cluster1/1", "cluster": "cluster1", **streams}

    def _take(self, event: Event, body: bytes) -> tuple[int, Any]:
        self._requests += 1
        if self._fault == "refuse" and self._requests % 50 == 0:
            return 503, {"detail": "refused on purpose"}
        sent = msgspec.json.decode(body)
        reactions = sent if isinstance(sent, list) else [sent]
        event.waiting.update(reaction["emoji_type"] for reaction in reactions)
        self._records += 1
        record = {"partition": 0, "offset": self._records - 1, "timestamp": _now_ms()}
        return 202, {"accepted": len(reactions), "record": record}

    def _trace(self, event: Event, sequence: int) -> tuple[int, Any]:
        if sequence not in event.counted:
            return 404, {"detail": "no such swarm"}
        window_end, end = event.counted[sequence]
        return 200, {"sequence": sequence, "window_end": window_end, "counted": {"0": end}}

    def _make_swarm(self, event: Event) -> None:
        event.sequence += 1
        counts, event.waiting = event.waiting, Counter()
        if event.sequence == FAULTY_SEQUENCE and event.name == model.MAIN:
            self._miscount(counts)
            if self._fault == "hang-up" and self._judge:
                self._judge.close()
        event.totals += counts
        event.counted[event.sequence] = (_now_ms(), self._records)
        event.history[event.sequence] = frames.of(event.swarm(counts))
        for viewer, kind in event.viewers.items():
            is_wronged = event.sequence >= FAULTY_SEQUENCE and viewer in self._audience and not self._has_wronged
            self._has_wronged |= is_wronged
            viewer.writelines(self._frames_for(event, counts, kind, is_wronged))

    def _miscount(self, counts: Counter[str]) -> None:
        match self._fault:
            case "lose":
                counts["🔥"] -= 1
            case "invent":
                counts["🔥"] += 1
            case "cross":
                counts["🔥"] -= 1
                self._event("final").waiting["🔥"] += 1

    def _frames_for(self, event: Event, counts: Counter[str], kind: int, is_wronged: bool) -> list[bytes]:
        frame = event.history[event.sequence][kind]
        if not is_wronged:
            return [frame]
        match self._fault:
            case "drop":
                return []
            case "double":
                return [frame, frame]
            case "differ":
                return [frames.of(event.swarm(counts + Counter({"👏": 1})))[kind]]
        return [frame]

    async def _join(
        self,
        event: Event,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
        last_id: str | None,
    ) -> None:
        is_websocket = "sec-websocket-key" in headers
        writer.write(_upgrade(headers["sec-websocket-key"]) if is_websocket else _EVENT_STREAM)
        kind = frames.WS if is_websocket else frames.SSE
        if last_id := last_id or headers.get("last-event-id"):
            _, seen = model.parse_message_id(last_id) or ("", 0)
            writer.writelines(event.history[sequence][kind] for sequence in range(seen + 1, event.sequence + 1))
        else:
            snapshot = model.Snapshot(model.message_id(STREAM, event.sequence), event.sequence, dict(event.totals))
            writer.write(frames.of(snapshot)[kind])
        event.viewers[writer] = kind
        while await reader.read(1024):
            pass


_STREAMS = (("sse", "http", "stream"), ("ws", "ws", "ws"))
_EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def _upgrade(key: str) -> bytes:
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    accept = base64.b64encode(digest).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def _reply(writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    body = msgspec.json.encode(content)
    writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def main(port: int, fault: str) -> None:
    stand_in = StandIn(port, fault)
    server = await asyncio.start_server(stand_in.answer, HOST, port, backlog=4096)
    async with server:
        await stand_in.count_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "none"))
