"""Turns the bytes of an SSE or WebSocket connection into viewer messages. Pure: no input or output.

Use both kinds of stream in the same way: send `request()`, pass each received piece to `feed()`, and send the result of
`data_to_send()` after each piece.
"""

import functools
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Protocol, get_args

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as WebSocketResponse
from websockets.protocol import State
from websockets.uri import parse_uri

from emostream import model
from emostream.client import sse
from emostream.client.errors import StreamEndedError, StreamLostError, TokenRefusedError
from emostream.client.http1 import Address, MalformedResponseError, Response, ResponseReader, authorization, get

_GONE = "the subscriber is gone"
_ENDED = "the event has ended"
_KNOWN_TYPES = frozenset(message_type.__struct_config__.tag for message_type in get_args(model.StreamMessage))
# For subscribers of an earlier version, which do not announce their heartbeat. It is several times their heartbeat.
_SILENCE_TIMEOUT_SECONDS = 45.0
# Before the first byte. A subscriber answers at once.
_START_TIMEOUT_SECONDS = 10.0
_GRACE_SECONDS = 1.0

Totals = Callable[[], model.Counts]
"""Returns the totals that the viewer has. It is called for each swarm, once the viewer has taken the one before."""


class Stream(Protocol):
    """The interface of both kinds of stream."""

    address: Address

    @property
    def silence_timeout_seconds(self) -> float:
        """The silence after which the connection counts as dead, although it is not closed. A `hello` changes it."""

    @property
    def retry_seconds(self) -> float | None:
        """How long to wait after this connection is lost, for whatever reason. None if nothing is known of that."""

    @property
    def is_accepted(self) -> bool:
        """Whether the subscriber has accepted the viewer. The first message may come much later."""

    def request(self) -> bytes:
        """Return the first bytes to send."""

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        """Return the messages that this piece completes. The caller must iterate to the end.

        Raises StreamLostError if the subscriber refuses the stream: a StreamEndedError if the viewer has seen the end
        of its event. If the stream ends later, the iterator raises it after the last good message.
        """

    def data_to_send(self) -> bytes:
        """Return the answers to send, such as a pong. They are usually empty."""

    def end(self) -> StreamLostError:
        """Return the error for the end of the connection."""


class _Messages:
    """Decodes messages. It passes those for the viewer on, and handles `hello` and `heartbeat` itself."""

    def __init__(self, totals: Totals | None) -> None:
        self._totals = totals
        self.silence_timeout_seconds = _START_TIMEOUT_SECONDS
        self._has_begun = False

    def begin(self) -> None:
        """Note that the subscriber has sent something."""
        if not self._has_begun:
            self._has_begun = True
            self.silence_timeout_seconds = _SILENCE_TIMEOUT_SECONDS

    def decode(self, data: bytes) -> Iterator[model.ViewerMessage]:
        """Decode one message. Yields nothing for a sign of life or for a type that this version does not know.

        Raises StreamLostError if the message is malformed.
        """
        try:
            message = self._decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            if _type_of(data) in {*_KNOWN_TYPES, None}:
                raise StreamLostError(f"the subscriber sent what is no message: {error}") from error
            return
        if isinstance(message, model.Hello):
            # Allow for one lost or late heartbeat.
            self.silence_timeout_seconds = 2 * message.heartbeat_ms / 1_000 + _GRACE_SECONDS
        elif not isinstance(message, model.Heartbeat):
            yield message

    def _decode(self, data: bytes) -> model.StreamMessage:
        if self._totals is None:
            return _decode(data)
        message = _decode_compact(data)
        return message.expand(self._totals()) if isinstance(message, model.CompactSwarm) else message


class SseStream:
    """A stream of server-sent events from `url`. It resumes after `last_id`, which is None for a new viewer.

    `token` is the viewer's, if it needs one. With `totals`, the stream comes in the compact form; the messages are the
    same.
    """

    def __init__(
        self, url: str, last_id: str | None = None, token: str | None = None, totals: Totals | None = None
    ) -> None:
        self.address = Address.of(_stream_url(url, totals))
        self._last_id = last_id
        self._token = token
        self._reader = ResponseReader()
        self._events = sse.Parser()
        self._messages = _Messages(totals)

    @property
    def silence_timeout_seconds(self) -> float:
        return self._messages.silence_timeout_seconds

    @property
    def retry_seconds(self) -> float | None:
        return self._events.retry_seconds

    @property
    def is_accepted(self) -> bool:
        return self._reader.status == HTTPStatus.OK

    def request(self) -> bytes:
        resume = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        return get(self.address, {"Accept": "text/event-stream", **resume, **authorization(self._token)})

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        self._messages.begin()
        try:
            answers = self._reader.feed(piece)
        except MalformedResponseError as error:
            raise StreamLostError(str(error)) from error
        if answers:
            if answers[0].status == HTTPStatus.NO_CONTENT:
                raise StreamEndedError(_ENDED)
            # An accepted stream never ends, so a complete response is a refusal.
            raise _refusal(answers[0])
        events = self._events.feed(self._reader.take_body()) if self.is_accepted else []
        return (message for event in events for message in self._messages.decode(event.data))

    def data_to_send(self) -> bytes:
        return b""

    def end(self) -> StreamLostError:
        return StreamLostError(_GONE)


class WebSocketStream:
    """A stream of WebSocket text frames from `url`. It resumes after `last_id`, which is None for a new viewer.

    The protocol has no word for the wait after a loss, so the caller chooses `retry_seconds`. `token` and `totals` are
    those of an `SseStream`.
    """

    def __init__(
        self,
        url: str,
        last_id: str | None = None,
        retry_seconds: float | None = None,
        token: str | None = None,
        totals: Totals | None = None,
    ) -> None:
        self.retry_seconds = retry_seconds
        url = _stream_url(url, totals)
        if last_id is not None:
            url = _with_query(url, f"last_event_id={last_id}")
        self.address = Address.of(url)
        self._token = token
        self._protocol = ClientProtocol(parse_uri(url), max_size=sse.MAX_EVENT_BYTES)
        # The parts of an incomplete message. The protocol bounds their size by `max_size`.
        self._fragments: list[bytes] = []
        self._messages = _Messages(totals)

    @property
    def silence_timeout_seconds(self) -> float:
        return self._messages.silence_timeout_seconds

    @property
    def is_accepted(self) -> bool:
        return self._protocol.state is State.OPEN

    def request(self) -> bytes:
        request = self._protocol.connect()
        request.headers.update(authorization(self._token))
        self._protocol.send_request(request)
        return self.data_to_send()

    def feed(self, piece: bytes) -> Iterator[model.ViewerMessage]:
        self._messages.begin()
        self._protocol.receive_data(piece)
        events = self._protocol.events_received()
        if self._protocol.handshake_exc is not None:
            refusals = [_refusal(_response(event)) for event in events if isinstance(event, WebSocketResponse)]
            raise refusals[0] if refusals else StreamLostError(str(self._protocol.handshake_exc))
        return self._take_frames([event for event in events if isinstance(event, Frame)])

    def data_to_send(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def end(self) -> StreamLostError:
        received = self._protocol.close_rcvd
        if received is not None and received.code == model.CLOSE_ENDED:
            return StreamEndedError(_ENDED)
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


def _refusal(answer: Response) -> StreamLostError:
    if answer.refuses_token:
        return TokenRefusedError(answer.reason)
    return StreamLostError(answer.reason, answer.retry_after_seconds)


def _response(answer: WebSocketResponse) -> Response:
    headers = {name.lower(): value for name, value in answer.headers.raw_items()}
    return Response(answer.status_code, headers, bytes(answer.body or b""), keeps_alive=False)


def _stream_url(url: str, totals: Totals | None) -> str:
    url = _with_query(url, "heartbeats=1")
    return url if totals is None else _with_query(url, "form=compact")


def _with_query(url: str, parameter: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


# All viewers of a process get the same swarm at almost the same time. Without this cache, a simulated audience would
# spend most of its time decoding it again for each viewer.
_decode = functools.lru_cache(maxsize=16)(model.decode_stream_message)
_decode_compact = functools.lru_cache(maxsize=16)(model.decode_compact_message)


def _type_of(data: bytes) -> str | None:
    try:
        return model.decode(data, _Tagged).type
    except msgspec.DecodeError:
        return None


class _Tagged(msgspec.Struct):
    type: str
