"""A viewer on asyncio. It needs one connection and one task that mostly sleeps, so a process can run thousands."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, cast

import msgspec
from websockets.exceptions import InvalidURI

from emostream import model
from emostream.client.connection import CONNECT_TIMEOUT_SECONDS, ConnectionEndedError, HttpConnection
from emostream.client.errors import StreamLostError
from emostream.client.http1 import Address, post_json
from emostream.client.reconnect import ReconnectPolicy
from emostream.client.streams import SseStream, Stream, WebSocketStream
from emostream.client.watcher import Verdict, Watcher

_ANSWER_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Connecting:
    """The viewer is asking the registry, or connecting to the subscriber that the registry named."""


@dataclass(frozen=True, slots=True)
class Live:
    """The subscriber has accepted the viewer."""

    subscriber: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The stream was lost. The viewer tries again in `seconds`."""

    reason: str
    seconds: float


ViewerState = Connecting | Live | Waiting


def _ignore(_: object) -> None:
    pass


class Viewer:
    """Watches swarms, and reconnects after every loss. `run()` does this until it is cancelled.

    `on_message` is called on the event loop with each snapshot, reset and swarm, in order and once each. It must return
    quickly. `on_state` is called at each change of the connection's state. If either of them raises an error, `run()`
    ends and raises it. `watcher` holds the totals and the position of the viewer.
    """

    def __init__(
        self,
        registry_url: str,
        user_id: str,
        *,
        on_message: Callable[[model.ViewerMessage], object] = _ignore,
        on_state: Callable[[ViewerState], object] = _ignore,
        protocol: Literal["sse", "ws"] = "sse",
    ) -> None:
        self.watcher = Watcher()
        self.state: ViewerState = Connecting()
        self._assignments = Address.of(f"{registry_url}/v1/assignments")
        self._user_id = user_id
        self._on_message = on_message
        self._on_state = on_state
        self._protocol = protocol
        self._reconnect = ReconnectPolicy(random.random)

    async def run(self) -> None:
        """Stay connected forever. Raises only the errors of `on_message` and `on_state`."""
        while True:
            self._enter(Connecting())
            subscriber = None
            try:
                assignment = await self._ask_registry()
                subscriber = assignment.subscriber
                await self._watch(assignment)
            except StreamLostError as loss:
                seconds = self._reconnect.lost(subscriber, loss.retry_seconds)
                self._enter(Waiting(loss.reason, seconds))
                await asyncio.sleep(seconds)

    async def _ask_registry(self) -> model.Assignment:
        body = model.encode({"user_id": self._user_id, "exclude": self._reconnect.excluded})
        try:
            connection = await HttpConnection.connect(self._assignments)
            response = await connection.exchange(post_json(self._assignments, body), _ANSWER_TIMEOUT_SECONDS)
            connection.close()
        except (OSError, ConnectionEndedError) as error:
            raise StreamLostError(f"the registry does not answer: {error}") from error
        if response.status != HTTPStatus.OK:
            raise StreamLostError(response.reason, response.retry_after_seconds)
        try:
            return model.decode(response.body, model.Assignment)
        except msgspec.DecodeError as error:
            raise StreamLostError(f"the registry's answer is no assignment: {error}") from error

    async def _watch(self, assignment: model.Assignment) -> None:
        """Receive messages until the stream is lost. Raises StreamLostError then, or the error of a callback."""
        stream = self._stream(assignment)
        address = stream.address
        loop = asyncio.get_running_loop()
        ssl = True if address.is_secure else None

        def accepted() -> None:
            self._enter(Live(assignment.subscriber, assignment.cluster))

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _StreamConnection(stream, accepted, self._take), address.host, address.port, ssl=ssl
                )
        except OSError as error:
            raise StreamLostError(f"{assignment.subscriber} cannot be reached: {error}") from error
        try:
            await connection.lost
        finally:
            connection.close()

    def _stream(self, assignment: model.Assignment) -> Stream:
        try:
            if self._protocol == "ws":
                return WebSocketStream(assignment.ws_url, self.watcher.resume_id)
            return SseStream(assignment.sse_url, self.watcher.resume_id)
        except (ValueError, InvalidURI) as error:
            raise StreamLostError(str(error)) from error

    def _take(self, message: model.ViewerMessage) -> None:
        """Process one message.

        Raises StreamLostError if the viewer must leave the stream: after a goodbye or a bad message, or at a gap, to
        resume before it.
        """
        if isinstance(message, model.Goodbye):
            raise StreamLostError(f"the subscriber said goodbye: {message.reason}")
        try:
            verdict = self.watcher.take(message)
        except ValueError as error:
            raise StreamLostError(str(error)) from error
        if verdict is Verdict.GAP:
            raise StreamLostError(f"a swarm is missing before {message.id}")
        if verdict is Verdict.FITS:
            self._reconnect.arrived()
            self._on_message(message)

    def _enter(self, state: ViewerState) -> None:
        self.state = state
        self._on_state(state)


class _StreamConnection(asyncio.Protocol):
    """Moves bytes between a transport and a stream.

    At the end, `lost` gets a StreamLostError or the error of a callback.
    """

    def __init__(
        self, stream: Stream, accepted: Callable[[], None], take: Callable[[model.ViewerMessage], None]
    ) -> None:
        self._stream = stream
        self._accepted = accepted
        self._is_accepted = False
        self._take = take
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def close(self) -> None:
        self._silence.cancel()
        self._transport.abort()

    # asyncio calls the methods below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._stream.request())
        self._heard_at = self._loop.time()
        self._watch_silence(self._stream.silence_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        if self.lost.done():
            return
        self._heard_at = self._loop.time()
        try:
            messages = self._stream.feed(data)
            if not self._is_accepted and self._stream.is_accepted:
                self._is_accepted = True
                self._accepted()
            for message in messages:
                self._take(message)
        except Exception as error:
            # Pass a callback's error on. If it were raised here, asyncio would only log it and close the connection.
            self._end(error)
        if due := self._stream.data_to_send():
            self._transport.write(due)
        if self._stream.silence_timeout_seconds != self._silence_timeout_seconds:
            self._silence.cancel()
            self._watch_silence(self._stream.silence_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._silence.cancel()
        self._end(self._stream.end())

    def _watch_silence(self, timeout_seconds: float) -> None:
        self._silence_timeout_seconds = timeout_seconds
        # A timer that checks the time when it fires costs less than a timer that is moved with each piece.
        self._silence = self._loop.call_later(timeout_seconds, self._check_silence)

    def _check_silence(self) -> None:
        left = self._heard_at + self._silence_timeout_seconds - self._loop.time()
        if left > 0:
            self._silence = self._loop.call_later(left, self._check_silence)
        else:
            self._end(StreamLostError("the subscriber is silent"))

    def _end(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
