"""One connection: first a request's head is read, then it is answered and closed, or becomes a viewer's.

A viewer's connection is a few slots and the transport: no task, no queue, no parser, and no cycle that would wait for
the garbage collector once the transport has let go of it.
"""

import abc
import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast

import httptools
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol

from emostream import model
from emostream.subscriber import frames, http
from emostream.subscriber.audience import Audience
from emostream.subscriber.history import Position

# Cookies of 8 KiB are common at `localhost`, where all development servers share them.
_MAX_HEAD_BYTES = 16 << 10
# Each one costs more memory than its few bytes.
_MAX_HEADERS = 128
# After the end of what a viewer sends: a connection that is closed answers the first heartbeat with a reset, which
# shows at the second one.
_SECOND_HEARTBEAT_SECONDS = 1.0
# A viewer has nothing to tell us; what it sends is read for pings and the close alone.
_MAX_INCOMING_MESSAGE_BYTES = 4 << 10
# How the answer to a ping begins; the four bytes of its mask follow.
_PONG_HEAD, _PONG_BYTES = b"\x8a\x80", 6


class ViewerConnection(asyncio.Protocol, abc.ABC):
    """What both kinds of viewer share; see `audience.Viewer`."""

    __slots__ = ("_audience", "_transport", "descriptor", "heartbeat", "is_paused", "position", "write")

    kind: ClassVar[int]
    position: Position | None
    descriptor: int
    heartbeat: bytes
    write: Callable[[bytes], Any]

    def __init__(self, transport: asyncio.Transport, audience: Audience, heartbeat: bytes) -> None:
        self.heartbeat = heartbeat
        self.position = None
        self.is_paused = False
        # The transport closes the socket only after `connection_lost`, from when on nobody sends.
        self.descriptor = transport.get_extra_info("socket").fileno()
        self.write = transport.write
        self._transport = transport
        self._audience = audience

    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    @abc.abstractmethod
    def say_goodbye(self, reason: model.GoodbyeReason) -> None: ...

    def abort(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self.is_paused = True
        self._audience.pause(self)

    def resume_writing(self) -> None:
        self.is_paused = False
        self._audience.resume(self)

    def eof_received(self) -> bool:
        """Return whether the connection stays: a viewer may end what it sends and read on, as `nc` does."""
        if self not in self._audience:
            return False
        self._show_life()
        asyncio.get_running_loop().call_later(_SECOND_HEARTBEAT_SECONDS, self._show_life)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._audience.leave(self)

    def _show_life(self) -> None:
        # What a paused viewer has yet to take finds out as well.
        if not self.is_paused and not self._transport.is_closing():
            self.write(self.heartbeat)


class SseViewer(ViewerConnection):
    """A viewer that reads server-sent events; whatever it sends is ignored."""

    __slots__ = ()

    kind = frames.SSE

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        self.write(frames.of(model.Goodbye(reason)).sse)
        self._transport.close()


class WebSocketViewer(ViewerConnection):
    """A viewer at a WebSocket. Outgoing swarms are frames made once for all; `websockets` handles what comes in."""

    __slots__ = ("_protocol",)

    kind = frames.WS

    def __init__(self, transport: asyncio.Transport, audience: Audience, heartbeat: bytes) -> None:
        super().__init__(transport, audience, heartbeat)
        # Made when first needed: most viewers send nothing but pongs and the close.
        self._protocol: ServerProtocol | None = None

    def data_received(self, data: bytes) -> None:
        if self._protocol is None and len(data) == _PONG_BYTES and data.startswith(_PONG_HEAD):
            return
        protocol = self._open_protocol()
        protocol.receive_data(data)
        protocol.events_received()
        self._flush(protocol)

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        self.write(frames.of(model.Goodbye(reason)).ws)
        protocol = self._open_protocol()
        if protocol.state is State.OPEN:
            protocol.send_close(CloseCode.GOING_AWAY, reason)
            self._flush(protocol)

    def pause_writing(self) -> None:
        # Who does not read our answers to its pings gets no more of them.
        self._transport.pause_reading()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
        super().resume_writing()

    def _open_protocol(self) -> ServerProtocol:
        if self._protocol is None:
            self._protocol = ServerProtocol(state=State.OPEN, max_size=_MAX_INCOMING_MESSAGE_BYTES)
        return self._protocol

    def _flush(self, protocol: ServerProtocol) -> None:
        for data in protocol.data_to_send():
            if data:
                self.write(data)
            else:
                # Both sides have said close, or the peer broke the protocol.
                self._audience.leave(self)
                self._transport.close()


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that becomes a viewer.

    `preamble` is sent before its first message, `heartbeat` after each silence; `last_id` is what it resumes from.
    """

    viewer_type: type[ViewerConnection]
    preamble: bytes
    heartbeat: bytes
    last_id: str | None


class Host(Protocol):
    """What a handshake needs of the server."""

    def opened(self, handshake: "Handshake") -> None:
        """A connection came; the host expires it, unless it closes, or becomes a viewer's, in time."""

    def closed(self, handshake: "Handshake") -> None:
        """The connection is gone, or is a viewer's from now on; harmless when repeated."""

    def respond(self, request: http.Request) -> bytes | Admission:
        """The whole answer, after which the connection closes; or leave to become a viewer."""

    def refuse(self, status: HTTPStatus, detail: str, headers: http.Headers) -> bytes:
        """The whole answer to what is no request, or not yet; `headers` are those of it that have come."""

    def admit(self, transport: asyncio.Transport, admission: Admission) -> None:
        """Make the connection a viewer's."""


class Handshake(asyncio.Protocol):
    """Reads one request's head and does with it what the host decides."""

    __slots__ = ("_head", "_host", "_is_answered", "_parser", "_rest_bytes", "_transport")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._is_answered = False
        self._rest_bytes = _MAX_HEAD_BYTES
        self._head = _Head()
        self._parser = httptools.HttpRequestParser(self._head)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        try:
            self._parser.feed_data(data[: self._rest_bytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # The head stops the parser once it is whole: neither a body nor a next request is read.
            if not self._head.is_whole:
                self._refuse(HTTPStatus.BAD_REQUEST, f"This is no HTTP request: {error}.")
                return
        self._rest_bytes -= len(data)
        if len(self._head.headers) > _MAX_HEADERS or (self._rest_bytes <= 0 and not self._head.is_whole):
            detail = f"A request's head may have {_MAX_HEAD_BYTES} bytes and {_MAX_HEADERS} headers; this one has more."
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        elif self._head.is_whole:
            self._finish()

    def expire(self) -> bool:
        """The time is over: say so and return True, or cut a connection whose answer was not taken in time."""
        if self._is_answered:
            self._transport.abort()
            return False
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time.")
        return True

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    def _finish(self) -> None:
        try:
            request = http.Request(
                method=self._parser.get_method().decode("latin-1"),
                target=self._head.target.decode("latin-1"),
                version=self._parser.get_http_version(),
                headers=self._head.headers,
            )
        except (httptools.HttpParserError, ValueError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{error}.")
            return
        result = self._host.respond(request)
        if isinstance(result, bytes):
            self._answer(result)
        else:
            self._host.closed(self)
            self._host.admit(self._transport, result)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        answer = self._host.refuse(status, detail, self._head.headers)
        self._answer(http.head_of(answer) if self._parser.get_method() == b"HEAD" else answer)

    def _answer(self, data: bytes) -> None:
        # Closing outright while the client still sends would reset the connection, and the answer be lost: so only this
        # side ends, and the client closes, or the deadline does.
        self._is_answered = True
        self._transport.write(data)
        self._transport.write_eof()


class _Head:
    """Collects what the parser finds; apart from the connection, so that the two are no cycle."""

    __slots__ = ("headers", "is_whole", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[str, str]] = []
        self.is_whole = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.is_whole = True
        raise _HeadIsWholeError


class _HeadIsWholeError(Exception):
    """Stops the parser behind the head."""
