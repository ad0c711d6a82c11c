"""A viewer over all its connections: what it asks the registry, where it resumes, and how long it waits. Pure.

A shell has the sockets and the clock. It sends `question()` to the registry, passes the answer to `assigned()`, opens
`stream()`, and passes each message to `take()`. If any of this raises StreamLostError, or the shell itself loses the
connection, it waits for `lost()` seconds and begins again, until `lost()` says that the event has ended.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import msgspec
from websockets.exceptions import InvalidURI

from emostream import model
from emostream.client.errors import (
    NoAnswerError,
    NoEventError,
    StreamEndedError,
    StreamLeftError,
    StreamLostError,
    TokenExpiredError,
    TokenRefusedError,
)
from emostream.client.http1 import Response
from emostream.client.reconnect import ReconnectPolicy
from emostream.client.streams import SseStream, Stream, WebSocketStream
from emostream.client.watcher import Continuity, Watcher

Kind = Literal["sse", "ws"]
Form = Literal["full", "compact"]


class Session:
    """The state of one viewer of an event. `draw` returns uniform random numbers from 0 to 1."""

    def __init__(
        self, user_id: str, kind: Kind, draw: Callable[[], float], event: str = model.MAIN, form: Form = "full"
    ) -> None:
        """Raises EmoStreamError if `event` is no id of an event."""
        model.check_event_id(event)
        self.watcher = Watcher()
        self._totals = (lambda: self.watcher.totals) if form == "compact" else None
        self.assignment: model.Assignment | None = None
        """The subscriber of the current connection. None until the registry has answered."""
        self._stream: Stream | None = None
        self.token: str | None = None
        """What the shell sends to the registry. None where it must get one first, or needs none."""
        self._user_id = user_id
        self._event = event
        self._kind = kind
        self._reconnect = ReconnectPolicy(draw)

    def question(self) -> bytes:
        """Return the body of the POST to /v1/assignments that begins a connection."""
        self.assignment = self._stream = None
        return model.encode(model.AssignmentRequest(self._user_id, tuple(self._reconnect.excluded), self._event))

    def assigned(self, answer: Response | NoAnswerError) -> model.Assignment:
        """Take the registry's answer, or the error in its place.

        Raises NoEventError if there is no such event, or StreamLostError if the answer assigns none for now.
        """
        if isinstance(answer, NoAnswerError):
            raise StreamLostError(f"the registry does not answer: {answer}") from answer
        # A 404 that names no event may come from a proxy while the registry is away.
        if answer.status == HTTPStatus.NOT_FOUND and answer.refused_event == self._event:
            raise NoEventError(self._event)
        if answer.refuses_token:
            raise TokenRefusedError(answer.reason)
        if answer.status != HTTPStatus.OK:
            raise StreamLostError(answer.reason, answer.retry_after_seconds)
        try:
            self.assignment = model.decode(answer.body, model.Assignment)
        except msgspec.DecodeError as error:
            raise StreamLostError(f"the registry's answer is no assignment: {error}") from error
        if isinstance(self.assignment.token, str):
            # Where guests are allowed.
            self.token = self.assignment.token
        return self.assignment

    def stream(self, assignment: model.Assignment) -> Stream:
        """Return the stream to open, which resumes after the last message. Raises StreamLostError for a bad URL."""
        try:
            if self._kind == "ws":
                retry_seconds = self._reconnect.websocket_retry_seconds()
                resume_id = self.watcher.resume_id
                self._stream = WebSocketStream(assignment.ws_url, resume_id, retry_seconds, self.token, self._totals)
            else:
                self._stream = SseStream(assignment.sse_url, self.watcher.resume_id, self.token, self._totals)
        except (ValueError, InvalidURI) as error:
            raise StreamLostError(str(error)) from error
        return self._stream

    def take(self, message: model.ViewerMessage) -> Continuity:
        """Take the next message of the stream, and return whether it FITS or is a REPEAT.

        Raises StreamLostError if the viewer must leave the stream: after a goodbye or a bad message, or at a gap, to
        resume before it. After the end of the event the subscriber closes the stream.
        """
        if isinstance(message, model.Goodbye):
            error = TokenExpiredError if message.reason == "expired" else StreamLeftError
            raise error(f"the subscriber said goodbye: {message.reason}")
        try:
            continuity = self.watcher.take(message)
        except ValueError as error:
            raise StreamLostError(str(error)) from error
        if continuity is Continuity.GAP:
            raise StreamLostError(f"a swarm is missing before {message.id}")
        if continuity is Continuity.FITS:
            self._reconnect.arrived()
        return continuity

    def lost(self, loss: StreamLostError) -> float | None:
        """Note that the connection was lost, and return the seconds to wait before the next one.

        Returns None if the event has ended, so that there is no next one. The watcher then holds the final totals.
        """
        if self.watcher.has_ended or isinstance(loss, StreamEndedError):
            return None
        if isinstance(loss, TokenRefusedError | TokenExpiredError):
            # This is no failure of the subscriber.
            self.token = self.assignment = None
        if isinstance(loss, TokenExpiredError):
            return 0.0
        subscriber = None if self.assignment is None else self.assignment.subscriber
        if subscriber is not None and isinstance(loss, StreamLeftError):
            self._reconnect.avoid(subscriber)
            return 0.0
        of_stream = None if self._stream is None else self._stream.retry_seconds
        return self._reconnect.lost(subscriber, loss.retry_seconds or of_stream)
