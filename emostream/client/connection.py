"""A keep-alive HTTP connection on asyncio. It handles one request at a time and needs no task."""

import asyncio
import functools
import os
import ssl
from typing import cast

from emostream.client.errors import NotAnsweredError, NotSentError
from emostream.client.http1 import Address, MalformedResponseError, Response, ResponseReader, get
from emostream.errors import ConfigurationError

CONNECT_TIMEOUT_SECONDS = 5.0
# `ca_file` of config.ClientSettings, which this library does without.
CA_FILE_VARIABLE = "EMOSTREAM_CLIENT_CA_FILE"


def server_context() -> ssl.SSLContext:
    """With what the servers of viewers are checked. Raises ConfigurationError if the file of their CAs cannot be read.

    It is made once: to read the CAs of the system takes longer than a handshake.
    """
    return _server_context(os.environ.get(CA_FILE_VARIABLE, ""))


@functools.lru_cache(1)
def _server_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(
            f"{CA_FILE_VARIABLE}={ca_file} is no file with certificates in the format PEM: {error}."
        ) from error


async def fetch(url: str, timeout_seconds: float, context: ssl.SSLContext | None = None) -> Response:
    """Return the answer to a GET. Raises ValueError for what is no URL, and NotSentError or NotAnsweredError.

    A server of an https URL must satisfy `context`, by default `server_context()`.
    """
    address = Address.of(url)
    return await ask(address, get(address, {"Connection": "close"}), timeout_seconds, context)


async def ask(
    address: Address, request: bytes, timeout_seconds: float, context: ssl.SSLContext | None = None
) -> Response:
    """Return the answer to a request, on a connection of its own. Raises NotSentError or NotAnsweredError."""
    connection = await HttpConnection.connect(address, context)
    try:
        return await connection.exchange(request, timeout_seconds)
    finally:
        connection.close()


class HttpConnection(asyncio.Protocol):
    """A connection to one server; create it with `connect`. Once `is_open` is False, it stays False."""

    def __init__(self) -> None:
        self.is_open = False
        self._reader = ResponseReader()
        self._waiter: asyncio.Future[Response] | None = None

    @classmethod
    async def connect(cls, address: Address, context: ssl.SSLContext | None = None) -> "HttpConnection":
        """Open a connection. Raises NotSentError if no server accepts it in time."""
        loop = asyncio.get_running_loop()
        secure = (context or server_context()) if address.is_secure else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                _, connection = await loop.create_connection(cls, address.host, address.port, ssl=secure)
        except OSError as error:
            raise NotSentError(f"{address.authority} cannot be reached: {error or 'no answer'}") from error
        return connection

    async def exchange(self, request: bytes, timeout_seconds: float) -> Response:
        """Send a request and return its answer.

        Raises NotAnsweredError if no answer comes in time. Then the connection is closed.
        """
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._waiter
        except TimeoutError:
            self.close()
            raise NotAnsweredError(f"no answer came in {timeout_seconds:g} s") from None
        except BaseException:
            # The request was abandoned. Its answer may still come, and the next request would take it for its own.
            self.close()
            raise
        finally:
            self._waiter = None
        if not response.keeps_alive:
            self.close()
        return response

    def close(self) -> None:
        self.is_open = False
        self._transport.abort()

    # asyncio calls the methods below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        try:
            responses = self._reader.feed(data)
        except MalformedResponseError as error:
            self._fail(str(error))
            return
        if self._waiter is None or len(responses) > 1:
            self._fail("an answer came that nobody asked for")
        elif responses and not self._waiter.done():
            self._waiter.set_result(responses[0])

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost ({exc or 'closed by the server'})")

    def _fail(self, reason: str) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NotAnsweredError(reason))
