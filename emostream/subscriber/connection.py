"""A connection to the subscriber: it starts as an HTTP request and either gets an answer or becomes a viewer.

A viewer's connection needs little memory: a few slots and the transport, but no task, no queue and no parser. It has no
reference cycle, so its memory is free as soon as the transport drops it, without the garbage collector.
"""

import abc
import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast

import httptools
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol

from emostream import model
from emostream.subscriber import frames, http
from emostream.subscriber.audience import Audience
from emostream.subscriber.history import Position

# Requests to `localhost` often carry 8 KiB of cookies, because all development servers share them.
_MAX_HEAD_BYTES = 16 << 10
# A header costs more memory than its bytes, so the number of headers has its own limit.
_MAX_HEADERS = 128
# A viewer that ends its side gets two heartbeats, this far apart. If it has closed the connection, its machine answers
# the first heartbeat with a reset, and the second write shows that.
_SECOND_HEARTBEAT_SECONDS = 1.0
# Only pings and the close of a viewer matter. The subscriber ignores all other messages.
_MAX_INCOMING_MESSAGE_BYTES = 4 << 10
# A pong without a payload: its first two bytes, and its length with the mask of four bytes.
_PONG_HEAD, _PONG_BYTES = b"\x8a\x80", 6


class ViewerConnection(asyncio.Protocol, abc.ABC):
    """The connection of a viewer: the base class of both kinds. It implements `audience.Viewer`."""

    __slots__ = (
        "_audience",
        "_transport",
        "descriptor",
        "heartbeat",
        "is_paused",
        "kind",
        "leaves_at",
        "position",
        "write",
    )

    kind: int
    position: Position | None
    descriptor: int
    heartbeat: bytes
    leaves_at: int | None
    write: Callable[[bytes], Any]

    def __init__(self, transport: asyncio.Transport, audience: Audience, kind: int, heartbeat: bytes) -> None:
        self.kind = kind
        self.heartbeat = heartbeat
        self.position = None
        self.leaves_at = None
        self.is_paused = False
        # The descriptor stays valid until `connection_lost`, and nothing is sent after that.
        self.descriptor = transport.get_extra_info("socket").fileno()
        self.write = transport.write
        self._transport = transport
        self._audience = audience

    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    @abc.abstractmethod
    def say_goodbye(self, reason: model.GoodbyeReason) -> None: ...

    @abc.abstractmethod
    def finish(self) -> None: ...

    def abort(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self.is_paused = True
        self._audience.pause(self)

    def resume_writing(self) -> None:
        self.is_paused = False
        self._audience.resume(self)

    def eof_received(self) -> bool:
        """Return whether to keep the connection. A viewer may close its sending side and still read, as `nc` does."""
        if self not in self._audience:
            return False
        self._send_heartbeat()
        asyncio.get_running_loop().call_later(_SECOND_HEARTBEAT_SECONDS, self._send_heartbeat)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._audience.leave(self)

    def _send_heartbeat(self) -> None:
        # A paused viewer needs no heartbeat: its unsent data detects a closed connection as well.
        if not self.is_paused and not self._transport.is_closing():
            self.write(self.heartbeat)


class SseViewer(ViewerConnection):
    """A viewer that reads server-sent events. Its input is ignored."""

    __slots__ = ()

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        self.write(frames.of(model.Goodbye(reason))[self.kind])
        self._transport.close()

    def finish(self) -> None:
        self._transport.close()


class WebSocketViewer(ViewerConnection):
    """A viewer on a WebSocket. Outgoing frames are shared by all viewers; `websockets` handles incoming frames."""

    __slots__ = ("_protocol",)

    extensions: ClassVar[Sequence[Extension]] = ()

    def __init__(self, transport: asyncio.Transport, audience: Audience, kind: int, heartbeat: bytes) -> None:
        super().__init__(transport, audience, kind, heartbeat)
        # Created when first needed, because most viewers send only pongs and the close.
        self._protocol: ServerProtocol | None = None

    def data_received(self, data: bytes) -> None:
        if self._protocol is None and len(data) == _PONG_BYTES and data.startswith(_PONG_HEAD):
            return
        protocol = self._open_protocol()
        protocol.receive_data(data)
        protocol.events_received()
        self._flush(protocol)

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        self.write(frames.of(model.Goodbye(reason))[self.kind])
        self._send_close(CloseCode.GOING_AWAY, reason)

    def finish(self) -> None:
        self._send_close(model.CLOSE_ENDED, "the event has ended")

    def _send_close(self, code: int, reason: str) -> None:
        protocol = self._open_protocol()
        if protocol.state is State.OPEN:
            protocol.send_close(code, reason)
            self._flush(protocol)

    def pause_writing(self) -> None:
        # Read no more pings from a viewer that does not read, because the answers would fill its buffer.
        self._transport.pause_reading()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
        super().resume_writing()

    def _open_protocol(self) -> ServerProtocol:
        if self._protocol is None:
            self._protocol = ServerProtocol(state=State.OPEN, max_size=_MAX_INCOMING_MESSAGE_BYTES)
            self._protocol.extensions = list(self.extensions)
        return self._protocol

    def _flush(self, protocol: ServerProtocol) -> None:
        for data in protocol.data_to_send():
            if data:
                self.write(data)
            else:
                # Both sides have sent a close frame, or the viewer broke the protocol.
                self._audience.leave(self)
                self._transport.close()


class DeflateWebSocketViewer(WebSocketViewer):
    """A viewer on a WebSocket whose messages are compressed, in both directions."""

    __slots__ = ()

    # It takes over no context, so all connections can share it.
    extensions = (
        PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            remote_max_window_bits=zlib.MAX_WBITS,
            local_max_window_bits=zlib.MAX_WBITS,
        ),
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision that a request becomes a viewer.

    `kind` is an index into `frames.KINDS`. `preamble` is sent before the first message, and `heartbeat` after each
    silence. The viewer resumes from `last_id`. `stays_seconds` is how long its token lets it stay; None for as long as
    it likes.
    """

    viewer_type: type[ViewerConnection]
    kind: int
    preamble: bytes
    heartbeat: bytes
    last_id: str | None
    event: str = model.MAIN
    stays_seconds: float | None = None


class HandshakeOwner(Protocol):
    """The part of the server that a handshake uses."""

    def opened(self, handshake: "Handshake") -> None:
        """Note a new connection. The owner calls `expire` on it unless it closes or becomes a viewer in time."""

    def closed(self, handshake: "Handshake") -> None:
        """Note that the connection is closed or has become a viewer. A second call does nothing."""

    def respond(self, request: http.Request) -> bytes | Admission:
        """Return the complete answer, after which the connection closes, or an admission as a viewer."""

    def refuse(self, status: HTTPStatus, detail: str, headers: http.Headers) -> bytes:
        """Return the complete answer to an invalid or incomplete request.

        `headers` are those that have arrived so far.
        """

    def admit(self, transport: asyncio.Transport, admission: Admission) -> None:
        """Make the connection a viewer."""


class Handshake(asyncio.Protocol):
    """Reads the head of one request. The owner then decides: it answers the request or admits a viewer."""

    __slots__ = ("_head", "_is_answered", "_owner", "_parser", "_rest_bytes", "_transport")

    def __init__(self, owner: HandshakeOwner) -> None:
        self._owner = owner
        self._is_answered = False
        self._rest_bytes = _MAX_HEAD_BYTES
        self._head = _Head()
        self._parser = httptools.HttpRequestParser(self._head)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        try:
            self._parser.feed_data(data[: self._rest_bytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # `_Head` stops the parser once the head is complete, so no body and no second request is read.
            if not self._head.is_whole:
                self._refuse(HTTPStatus.BAD_REQUEST, f"This is not an HTTP request: {error}.")
                return
        self._rest_bytes -= len(data)
        if len(self._head.headers) > _MAX_HEADERS or (self._rest_bytes <= 0 and not self._head.is_whole):
            detail = f"A request's head may have {_MAX_HEAD_BYTES} bytes and {_MAX_HEADERS} headers; this one has more."
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        elif self._head.is_whole:
            self._finish()

    def expire(self) -> bool:
        """End a handshake whose time is over.

        If there is no answer yet, send one that says so, and return True. If the client did not take its answer in
        time, abort the connection and return False.
        """
        if self._is_answered:
            self._transport.abort()
            return False
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")
        return True

    def abort(self) -> None:
        """Abort the connection."""
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
        result = self._owner.respond(request)
        if isinstance(result, bytes):
            self._answer(result)
        else:
            self._owner.closed(self)
            self._owner.admit(self._transport, result)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        answer = self._owner.refuse(status, detail, self._head.headers)
        self._answer(http.head_of(answer) if self._parser.get_method() == b"HEAD" else answer)

    def _answer(self, data: bytes) -> None:
        # If the client still sends, a close would reset the connection, and the answer would be lost. So only the
        # sending side ends here. The client closes the connection, or `expire` aborts it.
        self._is_answered = True
        self._transport.write(data)
        self._transport.write_eof()


class _Head:
    """Collects the results of the parser. It is separate from the connection to avoid a reference cycle."""

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
        raise _HeadCompleteError


class _HeadCompleteError(Exception):
    """Stops the parser after the head."""
