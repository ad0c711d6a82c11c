"""Servers that stand behind HAProxy: a subscriber's, and one that tells what it is asked."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import uvloop

from emostream.subscriber.connection import Handshake
from emostream.subscriber.server import Server
from emostream_lab.processes.servers import HOST
from tests.unit.subscriber.rig import new_server

T = TypeVar("T")


class Teller(BaseHTTPRequestHandler):
    """Answers each request with its path and its headers, as a ready server does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the standard library looks for these names

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A check of HAProxy closes its connection early."""


@contextmanager
def teller() -> Iterator[str]:
    """The address, host:port, of a server that tells what it is asked."""
    with _Server((HOST, 0), Teller) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


class Fanout:
    """A subscriber's server without Kafka, on an event loop in a thread of its own."""

    server: Server
    port: int

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._loop = uvloop.new_event_loop()

    def __enter__(self) -> "Fanout":
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.do(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run this in the server's loop."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(60)

    def viewers(self) -> int:
        return self.server.viewers

    async def _open(self) -> None:
        self.server = new_server(**self._settings)
        self._accepting = await self._loop.create_server(lambda: Handshake(self.server), HOST, 0)
        self.port = self._accepting.sockets[0].getsockname()[1]
        self._sweeping = asyncio.create_task(self.server.sweep_forever())

    async def _close(self) -> None:
        self._sweeping.cancel()
        self._accepting.close()
        for viewer in self.server.audience.viewers():
            viewer.abort()
        await self._accepting.wait_closed()
