"""A viewer in its own greenlet: it asks the registry, reads a stream, leaves and resumes.

This module has the sockets and the clock. The protocol and its checks are in emostream.client.
"""

import socket
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from typing import Literal

import msgspec

from emostream.client.errors import StreamLostError
from emostream.client.reconnect import ReconnectPolicy
from emostream.client.streams import SseStream, Stream, WebSocketStream
from emostream.client.watcher import Verdict, Watcher
from emostream.model import Assignment, Goodbye, Reset, Swarm, ViewerMessage, decode, encode
from emostream_lab.load.http import READ_BYTES, Endpoint, NotAnsweredError, NotSentError, connect
from emostream_lab.load.record import Record
from emostream_lab.load.run import now_seconds

# A slow viewer does not read for this long. Its receive buffer is small, so that data piles up at the server.
_SLOW_SECONDS = 40.0
_SLOW_BUFFER_BYTES = 4 << 10
# A viewer that leaves comes back after this long on average.
_AWAY_SECONDS = 2.0

Kind = Literal["sse", "ws"]
OnSwarm = Callable[[Swarm, float, float], None]
Pause = Callable[[float], None]


class Viewer:
    """One viewer over all its connections.

    `on_swarm` gets each swarm that is neither a repeat nor after a gap. It also gets two times in seconds: when the
    swarm arrived, and when its connection opened.
    """

    def __init__(self, kind: Kind, name: str, registry: Endpoint, record: Record, on_swarm: OnSwarm) -> None:
        self.kind = kind
        self.watcher = Watcher()
        self.first_sequence = 0
        self.is_connected = False
        self.is_slow = False
        self.mean_stay_seconds: float | None = None
        self._name = name
        self._registry = registry
        self._record = record
        self._on_swarm = on_swarm
        self._draw = Random(name)  # noqa: S311 (no secret)
        self._reconnect = ReconnectPolicy(self._draw.random)
        self.assignment: Assignment | None = None

    def hold(self, pause: Pause) -> float:
        """Run one connection, and return the seconds to stay away after it. A slow viewer calls `pause` to wait."""
        started = now_seconds()
        self.assignment = None
        try:
            self.assignment = self._ask()
            self._watch(self.assignment, started, pause)
        except StreamLostError as loss:
            if not self.is_slow:
                self._record.failed("STREAM", self._entry, loss.reason)
            subscriber = None if self.assignment is None else self.assignment.subscriber
            return self._reconnect.lost(subscriber, loss.retry_seconds)
        return self._draw.expovariate(1 / _AWAY_SECONDS)

    @property
    def _entry(self) -> str:
        return f"{'connect' if self.watcher.stream is None else 'resume'} ({self.kind})"

    def _ask(self) -> Assignment:
        body = encode({"user_id": self._name, "exclude": self._reconnect.excluded})
        started = now_seconds()
        try:
            response = self._registry.post(body)
        except (NotSentError, NotAnsweredError) as error:
            raise StreamLostError(f"the registry: {error}") from error
        self._record.request("POST", "/v1/assignments", started)
        if response.status != HTTPStatus.OK:
            raise StreamLostError(f"the registry: {response.reason}", response.retry_after_seconds)
        try:
            return decode(response.body, Assignment)
        except msgspec.DecodeError as error:
            raise StreamLostError(f"the registry's answer is no assignment: {error}") from error

    def _watch(self, assignment: Assignment, started: float, pause: Pause) -> None:
        """Read the stream until the viewer leaves. Raises StreamLostError if the stream ends first."""
        stream = self._stream(assignment)
        try:
            connection = connect(stream.address)
        except NotSentError as error:
            raise StreamLostError(str(error)) from error
        try:
            connection.sendall(stream.request())
            self._read(connection, stream, started, pause)
        except OSError as error:
            raise StreamLostError(f"the stream broke: {error}") from error
        finally:
            self.is_connected = False
            connection.close()

    def _stream(self, assignment: Assignment) -> Stream:
        if self.kind == "sse":
            return SseStream(assignment.sse_url, self.watcher.resume_id)
        return WebSocketStream(assignment.ws_url, self.watcher.resume_id)

    def _read(self, connection: socket.socket, stream: Stream, started: float, pause: Pause) -> None:
        entry, opened = self._entry, None
        leaves = (
            None if self.mean_stay_seconds is None else started + self._draw.expovariate(1 / self.mean_stay_seconds)
        )
        if self.is_slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        while leaves is None or now_seconds() < leaves:
            connection.settimeout(stream.silence_timeout_seconds)
            data = connection.recv(READ_BYTES)
            came = now_seconds()
            if not data:
                raise stream.end()
            messages = stream.feed(data)
            if answer := stream.data_to_send():
                connection.sendall(answer)
            if opened is None:
                opened = came
                self.is_connected = True
                self._record.request("STREAM", entry, started)
            for message in messages:
                self._take(message, came, opened)
            if self.is_slow:
                pause(_SLOW_SECONDS)

    def _take(self, message: ViewerMessage, came: float, opened: float) -> None:
        if isinstance(message, Goodbye):
            raise StreamLostError(f"told to leave: {message.reason}")
        is_first = self.watcher.stream is None
        verdict = self.watcher.take(message)
        if is_first:
            self.first_sequence = self.watcher.sequence
        if verdict is Verdict.GAP:
            raise StreamLostError("gap: a swarm is missing")
        self._reconnect.arrived()
        if verdict is Verdict.REPEAT:
            self._record.failed("DELIVERY", "swarm", "repeat")
        elif isinstance(message, Reset) and not self.is_slow:
            self._record.failed("DELIVERY", "swarm", "reset: swarms were missed")
        elif isinstance(message, Swarm):
            self._on_swarm(message, came, opened)
