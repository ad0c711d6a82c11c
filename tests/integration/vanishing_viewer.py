"""Two viewers, of whom one vanishes with its machine: the other one alone keeps its seat.

For test_viewers_connections, and for test_haproxy, with HAProxy in front. The arguments are the kind of the stream and,
for the latter, a folder for HAProxy's files.

Runs in a user and network namespace of its own, where any user may make networks, and raises where that does not hold.
"""

import asyncio
import contextlib
import ctypes
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from emostream.subscriber import sockets
from emostream.subscriber.connection import Handshake
from emostream_lab.processes.haproxy import proxy
from tests.integration.test_viewers_connections import end, receive, watch
from tests.unit.subscriber.rig import new_server, publish
from tests.unit.subscriber.test_server import STREAM, WEBSOCKET, until

_CLONE_NEWNET = 0x40000000
SERVER_ADDRESS, VIEWER_ADDRESS = "10.0.0.1", "10.0.0.2"
OPTIONS = {"max_unread_bytes": 65_536, "slow_viewer_timeout_ms": 1_000, "vanished_viewer_timeout_ms": 1_000}


class Machine:
    """Another machine: a thread in its own network namespace, connected by a virtual cable."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "machine")
        thread_id = self._do(self._leave)
        _ip("link", "add", "here", "type", "veth", "peer", "there", "netns", str(thread_id))
        _plug_in("here", SERVER_ADDRESS)
        self._do(partial(_plug_in, "there", VIEWER_ADDRESS))

    def socket(self) -> socket.socket:
        """One that is on this machine's network, whoever uses it."""
        return self._do(socket.socket)

    def vanish(self) -> None:
        """It has its address no longer, so nothing reaches it."""
        self._do(partial(_ip, "addr", "flush", "dev", "there"))

    def _do(self, function: Callable[[], Any]) -> Any:
        return self._thread.submit(function).result(30)

    @staticmethod
    def _leave() -> int:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        return threading.get_native_id()


def _plug_in(end_of_cable: str, address: str) -> None:
    _ip("addr", "add", f"{address}/30", "dev", end_of_cable)
    _ip("link", "set", end_of_cable, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)


@contextlib.contextmanager
def through_haproxy(port: int, folder: Path | None) -> Iterator[tuple[int, str]]:
    """The port and the prefix for viewers of the subscriber at a port: its own ones if there is no folder."""
    if folder is None:
        yield port, ""
        return
    variables = {"haproxy_subscribers": {"1": port}, "haproxy_vanished_viewer_timeout_seconds": 2}
    with proxy(folder, has_tls=False, **variables) as edge:
        yield edge.http_port, "/subscribers/1"


async def scenario(request: bytes, folder: Path | None) -> None:
    machine = Machine()
    _ip("link", "set", "lo", "up")
    server = new_server(heartbeat_ms=200)
    with (
        socket.create_server(("", 0)) as listener,
        through_haproxy(listener.getsockname()[1], folder) as (port, prefix),
        machine.socket() as vanishing,
        socket.socket() as staying,
    ):
        if folder is None:
            sockets.prepare(listener, **OPTIONS)
        accepting = await asyncio.get_running_loop().create_server(lambda: Handshake(server), sock=listener)
        sweeping = asyncio.create_task(server.sweep_forever())
        try:
            for connection in (vanishing, staying):
                await watch(connection, (SERVER_ADDRESS, port), request.replace(b" ", f" {prefix}".encode(), 1))
            assert len(server.audience) == 2
            machine.vanish()
            await until(lambda: len(server.audience) == 1, 60)
            publish(server, 4)
            await receive(staying, b'"id":"s-4"')
        finally:
            sweeping.cancel()
            await end(server, accepting)


if __name__ == "__main__":
    kind, *folders = sys.argv[1:]
    uvloop.run(scenario({"sse": STREAM, "ws": WEBSOCKET}[kind] + b"\r\n", Path(folders[0]) if folders else None))
