"""One stream of swarms over one connection, by SSE or WebSocket: bytes in, messages out. Pure.

Both kinds are used alike: send `request()`, feed what comes, and send what `data_to_send()` has after each piece.
"""

import functools
from collections.abc import Iterator
from http import HTTPStatus
from typing import Protocol, cast

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as WebSocketResponse
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream import model
from emostream.client import sse
from emostream.client.errors import StreamLostError
from emostream.client.http1 import Address, MalformedResponseError, Response, ResponseReader, get

_GONE = "the subscriber is gone"
_KNOWN_TYPES = frozenset(
    message_type.__struct_config__.tag
    for message_type in (model.Snapshot, model.Swarm, model.Reset, model.Goodbye, model.Hello, model.Heartbeat)
)
# Several times the heartbeat of a subscriber that does not announce it, being of an earlier version.
_SILENCE_TIMEOUT_SECONDS = 45.0
_GRACE_SECONDS = 2.0


class Stream(Protocol):
    """What SSE and WebSocket have in common."""

    address: Address

    @property
    def silence_timeout_seconds(self) -> float:
        """After so long a silence the connection is dead, although nobody has closed it. A `hello` changes it."""

    @property
    def is_accepted(self) -> bool:
        """Whether the subscriber has taken the viewer in; a message may be long in coming after that."""

    def request(self) -> bytes:
        """The first bytes to send."""

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        """The messages that this piece completes, to be iterated to the end.

        Raises StreamLostError where the stream is refused; the iterator raises it behind the last good message.
        """

    def data_to_send(self) -> bytes:
        """Answers that are due, such as a pong; empty mostly."""

    def end(self) -> StreamLostError:
        """What the end of the connection means."""


class _Messages:
    """The messages of a stream for the viewer; those that only tell that the connection lives end here."""

    def __init__(self) -> None:
        self.silence_timeout_seconds = _SILENCE_TIMEOUT_SECONDS

    def decode(self, data: bytes) -> Iterator[model.ViewerMessage]:
        """The message; none where it is a sign of life, or of a type that only newer viewers know.

        Raises StreamLostError where it is broken.
        """
        try:
            message = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if _type_of(data) in {*_KNOWN_TYPES, None}:
                raise StreamLostError(f"the subscriber sent what is no message: {error}") from error
            return
        if isinstance(message, model.Hello):
            # One heartbeat may be lost or late.
            self.silence_timeout_seconds = 2 * message.heartbeat_ms / 1_000 + _GRACE_SECONDS
        elif not isinstance(message, model.Heartbeat):
            yield message


class SseStream:
    """Server-sent events from `url`; `last_id` is what to resume after, None for a new viewer."""

    def __init__(self, url: str, last_id: str | None = None) -> None:
        self.address = Address.of(_with_query(url, "heartbeats=1"))
        self._last_id = last_id
        self._reader = ResponseReader()
        self._events = sse.Parser()
        self._messages = _Messages()

    @property
    def silence_timeout_seconds(self) -> float:
        return self._messages.silence_timeout_seconds

    @property
    def is_accepted(self) -> bool:
        return self._reader.status == HTTPStatus.OK

    def request(self) -> bytes:
        resume = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        return get(self.address, {"Accept": "text/event-stream", **resume})

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        try:
            answers = self._reader.feed(piece)
        except MalformedResponseError as error:
            raise StreamLostError(str(error)) from error
        if answers:
            # A stream that is accepted has no end, so whatever is whole is a refusal.
            raise StreamLostError(answers[0].reason, answers[0].retry_after_seconds)
        events = self._events.feed(self._reader.take_body()) if self.is_accepted else []
        return (message for event in events for message in self._messages.decode(event.data))

    def data_to_send(self) -> bytes:
        return b""

    def end(self) -> StreamLostError:
        return StreamLostError(_GONE, self._events.retry_seconds)


class WebSocketStream:
    """The same messages as text frames of a WebSocket at `url`."""

    def __init__(self, url: str, last_id: str | None = None) -> None:
        url = _with_query(url, "heartbeats=1")
        if last_id is not None:
            url = _with_query(url, f"last_event_id={last_id}")
        self.address = Address.of(url)
        self._protocol = ClientProtocol(parse_uri(url), max_size=sse.MAX_EVENT_BYTES)
        # A message in the making; the protocol bounds it by `max_size`.
        self._fragments: list[bytes] = []
        self._messages = _Messages()

    @property
    def silence_timeout_seconds(self) -> float:
        return self._messages.silence_timeout_seconds

    @property
    def is_accepted(self) -> bool:
        return self._protocol.state is State.OPEN

    def request(self) -> bytes:
        self._protocol.send_request(self._protocol.connect())
        return self.data_to_send()

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        self._protocol.receive_data(piece)
        events = self._protocol.events_received()
        if self._protocol.handshake_exc is not None:
            refusals = [_refusal(event) for event in events if isinstance(event, WebSocketResponse)]
            raise refusals[0] if refusals else StreamLostError(str(self._protocol.handshake_exc))
        return self._take_frames([event for event in events if isinstance(event, Frame)])

    def data_to_send(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def end(self) -> StreamLostError:
        received = self._protocol.close_rcvd
        return StreamLostError((received.reason if received is not None else "") or _GONE)

    def _take_frames(self, frames: list[Frame]) -> Iterator[model.ViewerMessage]:
        for frame in frames:
            if frame.opcode in {Opcode.TEXT, Opcode.CONT}:
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    message, self._fragments = b"".join(self._fragments), []
                    yield from self._messages.decode(message)
        if self._protocol.state in {State.CLOSING, State.CLOSED}:
            raise self.end()


def _refusal(answer: WebSocketResponse) -> StreamLostError:
    headers = {name.lower(): value for name, value in answer.headers.raw_items()}
    response = Response(answer.status_code, headers, bytes(answer.body or b""), keeps_alive=False)
    return StreamLostError(response.reason, response.retry_after_seconds)


def _with_query(url: str, parameter: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


# All viewers of a process get the same swarm, each at almost the same time: to decode it anew for each of them would be
# most of what a simulated audience does.
_decode = functools.lru_cache(maxsize=16)(
    cast(
        "msgspec.json.Decoder[model.ViewerMessage | model.SignOfLife]",
        msgspec.json.Decoder(model.ViewerMessage | model.SignOfLife),
    ).decode
)


def _type_of(data: bytes) -> str | None:
    try:
        return model.decode(data, _Tagged).type
    except msgspec.DecodeError:
        return None


class _Tagged(msgspec.Struct):
    type: str
