"""Requests over plain sockets, telling apart what was never sent from what was never answered.

Sockets cooperate here: Locust patches them, so that a greenlet which waits for one lets the others run. Locust's own
clients are not used because they send a request again when a kept connection turns out to be closed: a reaction that
went out twice would look as if the pipeline had doubled it.
"""

import socket
import time

from emostream.client import http1

READ_BYTES = 16 << 10
# Longer than any deadline of the services, so that it is they who give up first, and say so.
TIMEOUT_SECONDS = 15.0
# Shorter than any server keeps an idle connection: one that is being closed would swallow the next request.
_KEPT_SECONDS = 2.0


class NotSentError(Exception):
    """Nothing of the request can have been acted on."""


class NotAnsweredError(Exception):
    """The request was sent, and no complete answer came: whether it was acted on is unknown."""


def connect(address: http1.Address) -> socket.socket:
    """Raises NotSentError where nobody answers in time."""
    try:
        connection = socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS)
    except OSError as error:
        raise NotSentError(f"{address.authority} cannot be reached: {error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Endpoint:
    """One URL, asked over connections that are kept. As many are open as requests overlap."""

    def __init__(self, url: str) -> None:
        self._address = http1.Address.of(url)
        # The one used last is at the end, each with the time since when it is idle.
        self._idle: list[tuple[socket.socket, float]] = []

    def get(self) -> http1.Response:
        """Raises NotSentError or NotAnsweredError."""
        return self._exchange(http1.get(self._address, {}))

    def post(self, body: bytes) -> http1.Response:
        """Send JSON. Raises NotSentError or NotAnsweredError."""
        return self._exchange(http1.post_json(self._address, body))

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        while self._idle:
            self._idle.pop()[0].close()

    def _exchange(self, request: bytes) -> http1.Response:
        connection = self._take()
        is_kept = False
        try:
            connection.sendall(request)
            response = _read(connection)
            is_kept = response.keeps_alive
            return response
        except (OSError, http1.MalformedResponseError) as error:
            raise NotAnsweredError(f"no answer: {error}") from error
        finally:
            if is_kept:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()

    def _take(self) -> socket.socket:
        if self._idle and time.monotonic() - self._idle[-1][1] < _KEPT_SECONDS:
            return self._idle.pop()[0]
        self.close()
        return connect(self._address)


def _read(connection: socket.socket) -> http1.Response:
    reader = http1.ResponseReader()
    while data := connection.recv(READ_BYTES):
        if responses := reader.feed(data):
            return responses[0]
    raise ConnectionError("the connection was closed before the answer was complete")
