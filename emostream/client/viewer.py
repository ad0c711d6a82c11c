"""A viewer on asyncio. It needs one connection and one task that mostly sleeps, so a process can run thousands."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from emostream import model
from emostream.client.connection import CONNECT_TIMEOUT_SECONDS, ask, server_context
from emostream.client.errors import NoAnswerError, StreamLostError
from emostream.client.http1 import Address, Response, post_json
from emostream.client.session import Form, Kind, Session
from emostream.client.streams import Stream
from emostream.client.token import TokenSource, newest
from emostream.client.watcher import Continuity

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


@dataclass(frozen=True, slots=True)
class Ended:
    """The event has ended, and the viewer has seen all of it. `totals` are the final ones."""

    totals: model.Counts


ViewerState = Connecting | Live | Waiting | Ended


def _ignore(_: object) -> None:
    pass


class Viewer:
    """Watches the swarms of an event, and reconnects after every loss. `run()` does this until the event ends.

    `on_message` is called on the event loop with each snapshot, reset, swarm and end, in order and once each. It must
    return quickly. `on_state` is called at each change of the connection's state. If either of them raises an error,
    `run()` ends and raises it. `watcher` holds the totals and the position of the viewer.

    `token` is the viewer's, where the service wants one, or an asynchronous function that returns it. The function is
    called again once the token has expired or was refused. If it raises an error, the viewer tries again later.

    With the `form` "compact" the subscriber sends less than half of the bytes. The messages are the same: the viewer
    derives the rest, and so it does not notice if the subscriber's totals do not fit its counts.
    """

    def __init__(  # noqa: PLR0913 - each has a name at the call
        self,
        registry_url: str,
        user_id: str,
        *,
        event: str = model.MAIN,
        on_message: Callable[[model.ViewerMessage], object] = _ignore,
        on_state: Callable[[ViewerState], object] = _ignore,
        protocol: Kind = "sse",
        form: Form = "full",
        token: TokenSource | None = None,
    ) -> None:
        """Raises EmoStreamError if `event` is no id of an event."""
        self.state: ViewerState = Connecting()
        self._assignments = Address.of(f"{registry_url}/v1/assignments")
        self._session = Session(user_id, protocol, random.random, event, form)
        self.watcher = self._session.watcher
        self._token = token
        self._on_message = on_message
        self._on_state = on_state

    async def token(self) -> str:
        """Return the token that the viewer has, also as a guest, for what else it asks; empty if it has none yet."""
        return self._session.token or ""

    async def run(self) -> Ended:
        """Stay connected until the event ends, which `main` never does.

        Raises NoEventError if there is no such event, or the error of `on_message` or `on_state`.
        """
        while True:
            self._enter(Connecting())
            try:
                await self._need_token()
                assignment = self._session.assigned(await self._ask_registry())
                await self._watch(assignment)
            except StreamLostError as loss:
                seconds = self._session.lost(loss)
                if seconds is None:
                    ended = Ended(self.watcher.totals)
                    self._enter(ended)
                    return ended
                self._enter(Waiting(loss.reason, seconds))
                await asyncio.sleep(seconds)

    async def _need_token(self) -> None:
        if self._session.token is None:
            try:
                self._session.token = await newest(self._token)
            except Exception as error:
                raise StreamLostError(f"there is no token: {error}") from error

    async def _ask_registry(self) -> Response | NoAnswerError:
        request = post_json(self._assignments, self._session.question(), self._session.token)
        try:
            return await ask(self._assignments, request, _ANSWER_TIMEOUT_SECONDS)
        except NoAnswerError as error:
            return error

    async def _watch(self, assignment: model.Assignment) -> None:
        def accepted() -> None:
            self._enter(Live(assignment.subscriber, assignment.cluster))

        await watch(assignment.subscriber, self._session.stream(assignment), self._take, accepted)

    def _take(self, message: model.ViewerMessage) -> None:
        if self._session.take(message) is Continuity.FITS:
            self._on_message(message)

    def _enter(self, state: ViewerState) -> None:
        self.state = state
        self._on_state(state)


async def watch(
    subscriber: str,
    stream: Stream,
    take: Callable[[model.ViewerMessage], object],
    accepted: Callable[[], object] = lambda: None,
) -> None:
    """Receive the messages of a stream until it is lost.

    Raises StreamLostError then, or the error of `take` or `accepted`. `accepted` is called when the subscriber has
    accepted the viewer.
    """
    loop = asyncio.get_running_loop()
    address = stream.address
    ssl = server_context() if address.is_secure else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: _StreamConnection(stream, accepted, take), address.host, address.port, ssl=ssl
            )
    except OSError as error:
        raise StreamLostError(f"{subscriber} cannot be reached: {error}") from error
    try:
        await connection.lost
    finally:
        connection.close()


class _StreamConnection(asyncio.Protocol):
    """Moves bytes between a transport and a stream.

    At the end, `lost` gets a StreamLostError or the error of a callback.
    """

    def __init__(
        self, stream: Stream, accepted: Callable[[], object], take: Callable[[model.ViewerMessage], object]
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
