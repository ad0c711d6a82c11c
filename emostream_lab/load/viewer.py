"""A viewer in its own greenlet: it asks the registry, reads a stream, leaves and resumes.

This module has the sockets and the clock. The protocol and its checks are in emostream.client.
"""

import socket
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from emostream.client.errors import NoAnswerError, NoEventError, StreamLostError
from emostream.client.http1 import Response
from emostream.client.session import Kind, Session
from emostream.client.streams import Stream
from emostream.client.watcher import Continuity
from emostream.model import Reset, Swarm, ViewerMessage
from emostream.tokens.own import OwnTokens
from emostream_lab.account.tally import Spectator
from emostream_lab.load.http import READ_BYTES, Endpoint, connect
from emostream_lab.load.run import now_seconds

if TYPE_CHECKING:
    # Importing Locust patches the standard library.
    from emostream_lab.load.record import Record

# A slow viewer does not read for this long. Its receive buffer is small, so that data piles up at the server.
_SLOW_SECONDS = 40.0
_SLOW_BUFFER_BYTES = 4 << 10
# A viewer that leaves comes back after this long on average.
_AWAY_SECONDS = 2.0

OnSwarm = Callable[[Swarm, float, float], None]
Pause = Callable[[float], None]


class Viewer:
    """One viewer over all its connections.

    `on_swarm` gets each swarm that is neither a repeat nor after a gap. It also gets two times in seconds: when the
    swarm arrived, and when its connection opened.
    """

    def __init__(  # noqa: PLR0913 - each has a name at the call
        self,
        kind: Kind,
        name: str,
        *,
        event: str,
        registry: Endpoint,
        record: "Record",
        on_swarm: OnSwarm,
        tokens: OwnTokens | None = None,
    ) -> None:
        self._draw = Random(name)  # noqa: S311 (no secret)
        self.session = Session(name, kind, self._draw.random, event)
        self.spectator = Spectator(self.session.watcher, is_connected=False)
        self.mean_stay_seconds: float | None = None
        self._name = name
        self._tokens = tokens
        self._kind = kind
        self._registry = registry
        self._record = record
        self._on_swarm = on_swarm

    def hold(self, pause: Pause) -> float | None:
        """Run one connection, and return the seconds to stay away after it, or None to stop for good.

        It stops if the event has ended. It also stops if there is no such event, which is a failure of the run. A slow
        viewer calls `pause` to wait.
        """
        started = now_seconds()
        # It is signed by this process, so the time that it takes is no viewer's.
        if self._tokens is not None and self.session.token is None:
            self.session.token = self._tokens.sign(self._name, "watch", "relay")
        try:
            assignment = self.session.assigned(self._ask_registry())
            self._watch(self.session.stream(assignment), started, pause)
        except NoEventError as error:
            self._record.failed("STREAM", self._entry, str(error))
            return None
        except StreamLostError as loss:
            if not self.spectator.is_slow:
                self._record.failed("STREAM", self._entry, loss.reason)
            return self.session.lost(loss)
        return self._draw.expovariate(1 / _AWAY_SECONDS)

    @property
    def _entry(self) -> str:
        return f"{'connect' if self.session.watcher.stream is None else 'resume'} ({self._kind})"

    def _ask_registry(self) -> Response | NoAnswerError:
        started = now_seconds()
        try:
            answer = self._registry.post(self.session.question(), self.session.token)
        except NoAnswerError as error:
            return error
        self._record.request("POST", "/v1/assignments", started)
        return answer

    def _watch(self, stream: Stream, started: float, pause: Pause) -> None:
        """Read the stream until the viewer leaves. Raises StreamLostError if the stream ends first."""
        try:
            connection = connect(stream.address)
        except NoAnswerError as error:
            raise StreamLostError(str(error)) from error
        try:
            connection.sendall(stream.request())
            self._read(connection, stream, started, pause)
        except OSError as error:
            raise StreamLostError(f"the stream broke: {error}") from error
        finally:
            self.spectator.is_connected = False
            connection.close()

    def _read(self, connection: socket.socket, stream: Stream, started: float, pause: Pause) -> None:
        entry, opened = self._entry, None
        leaves = (
            None if self.mean_stay_seconds is None else started + self._draw.expovariate(1 / self.mean_stay_seconds)
        )
        if self.spectator.is_slow:
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
                self.spectator.is_connected = True
                self._record.request("STREAM", entry, started)
            for message in messages:
                self._take(message, came, opened)
            if self.spectator.is_slow:
                pause(_SLOW_SECONDS)

    def _take(self, message: ViewerMessage, came: float, opened: float) -> None:
        if self.session.take(message) is Continuity.REPEAT:
            self._record.failed("DELIVERY", "swarm", "repeat")
        elif isinstance(message, Swarm):
            self._on_swarm(message, came, opened)
        elif isinstance(message, Reset) and not self.spectator.is_slow:
            self._record.failed("DELIVERY", "swarm", "reset: swarms were missed")
