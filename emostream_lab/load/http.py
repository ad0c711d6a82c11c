"""HTTP over plain sockets that tells a request that was never sent from one that was never answered.

Locust patches the sockets, so a greenlet that waits for one lets the others run. Locust's own HTTP clients are not
used, because they resend a request when a kept-alive connection turns out to be closed. A reaction that is sent twice
would look as if the pipeline had doubled it.
"""

import socket
import time
from collections.abc import Callable

from emostream.client import http1
from emostream.client.connection import server_context
from emostream.client.errors import NotAnsweredError, NotSentError

READ_BYTES = 16 << 10
# Longer than any deadline of the services, so that the service gives up first and says so.
TIMEOUT_SECONDS = 15.0
# Shorter than any server keeps an idle connection. A request on a connection that is being closed would be lost.
_KEPT_SECONDS = 2.0


def connect(address: http1.Address) -> socket.socket:
    """Open a TCP connection, with TLS for https and wss. Raises NotSentError if nothing answers in time."""
    context = server_context() if address.is_secure else None
    try:
        connection = socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # If the handshake fails, this closes the connection.
        return context.wrap_socket(connection, server_hostname=address.host) if context else connection
    except OSError as error:
        raise NotSentError(f"{address.authority} cannot be reached: {error}") from error


class Endpoint:
    """One URL, requested over kept-alive connections. There is a connection for each overlapping request.

    `token` gives what each request carries, if it carries one.
    """

    def __init__(self, url: str, token: Callable[[], str | None] = lambda: None) -> None:
        self._address = http1.Address.of(url)
        self._token = token
        # Idle connections, each with the time at which it became idle. The last one used is at the end.
        self._idle: list[tuple[socket.socket, float]] = []

    def get(self) -> http1.Response:
        """Send a GET request. Raises NotSentError or NotAnsweredError."""
        return self._exchange(http1.get(self._address, http1.authorization(self._token())))

    def post(self, body: bytes, token: str | None = None) -> http1.Response:
        """Send a POST request with a JSON body, and with this token in place of that of the endpoint.

        Raises NotSentError or NotAnsweredError.
        """
        return self._exchange(http1.post_json(self._address, body, token or self._token()))

    def close(self) -> None:
        """Close the idle connections."""
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
