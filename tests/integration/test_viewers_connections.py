"""When a viewer's seat is free: its machine has vanished, or it closed; but not if it only ends what it sends."""

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import uvloop

from emostream.subscriber import sockets
from emostream.subscriber.connection import Handshake
from emostream.subscriber.server import Server
from tests.unit.subscriber.rig import new_server, publish
from tests.unit.subscriber.test_server import STREAM, WEBSOCKET, until

_CLONE_NEWNET = 0x40000000
OPTIONS = {"max_unread_bytes": 65_536, "slow_viewer_timeout_ms": 1_000, "vanished_viewer_timeout_ms": 1_000}


class Machine:
    """Another machine: a network namespace that a thread of its own is in, at the other end of a cable."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "machine")
        self._cable = f"v{uuid.uuid4().hex[:8]}"
        subnet = f"198.{18 + os.getpid() % 2}.{uuid.uuid4().bytes[0]}"
        self.server_address, self.address = f"{subnet}.1", f"{subnet}.2"
        thread_id = self._do(self._leave)
        _ip("link", "add", f"{self._cable}s", "type", "veth", "peer", f"{self._cable}m", "netns", str(thread_id))
        _ip("addr", "add", f"{self.server_address}/30", "dev", f"{self._cable}s")
        _ip("link", "set", f"{self._cable}s", "up")
        self._do(partial(_ip, "addr", "add", f"{self.address}/30", "dev", f"{self._cable}m"))
        self._do(partial(_ip, "link", "set", f"{self._cable}m", "up"))

    def socket(self) -> socket.socket:
        """One that is on this machine's network, whoever uses it."""
        return self._do(socket.socket)

    def vanish(self) -> None:
        """It has its address no longer, so nothing reaches it."""
        self._do(partial(_ip, "addr", "flush", "dev", f"{self._cable}m"))

    def close(self) -> None:
        self._thread.shutdown()
        _ip("link", "del", f"{self._cable}s")

    def _do(self, function: Callable[[], Any]) -> Any:
        return self._thread.submit(function).result(30)

    @staticmethod
    def _leave() -> int:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        return threading.get_native_id()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


async def watch(connection: socket.socket, address: tuple[str, int], request: bytes) -> None:
    """Become a viewer."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    await loop.sock_connect(connection, address)
    await loop.sock_sendall(connection, request)
    await receive(connection, b'"snapshot"')


async def end(server: Server, accepting: asyncio.Server) -> None:
    """Close all connections and the listener."""
    accepting.close()
    for viewer in server.audience.viewers():
        viewer.abort()
    await accepting.wait_closed()


async def receive(connection: socket.socket, last: bytes) -> None:
    """Read until this has come."""
    received = b""
    while last not in received:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1 << 16), 20)
        assert data, received
        received += data


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network for the other machine")
@pytest.mark.parametrize("request_head", [STREAM, WEBSOCKET], ids=["sse", "ws"])
def test_the_seat_of_a_viewer_that_has_vanished_is_free_soon(machine: Machine, request_head: bytes) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        server = new_server(heartbeat_ms=200)
        with (
            socket.create_server((machine.server_address, 0)) as listener,
            machine.socket() as vanishing,
            socket.socket() as staying,
        ):
            sockets.prepare(listener, **OPTIONS)
            accepting = await loop.create_server(lambda: Handshake(server), sock=listener)
            sweeping = asyncio.create_task(server.sweep_forever())
            try:
                for connection in (vanishing, staying):
                    await watch(connection, listener.getsockname(), request_head + b"\r\n")
                assert len(server.audience) == 2
                machine.vanish()
                await until(lambda: len(server.audience) == 1, 60)
                publish(server, 4)
                await receive(staying, b'"id":"s-4"')
            finally:
                sweeping.cancel()
                await end(server, accepting)

    uvloop.run(scenario())


@pytest.mark.parametrize("request_head", [STREAM, WEBSOCKET], ids=["sse", "ws"])
def test_who_only_ends_what_it_sends_stays_and_who_closes_is_gone(request_head: bytes) -> None:
    async def scenario() -> None:
        # Nothing else may show that a connection is closed: neither a heartbeat in silence nor a swarm.
        server = new_server(heartbeat_ms=3_600_000)
        accepting = await asyncio.get_running_loop().create_server(lambda: Handshake(server), "127.0.0.1", 0)
        with socket.socket() as closing, socket.socket() as ending:
            try:
                for connection in (closing, ending):
                    await watch(connection, accepting.sockets[0].getsockname(), request_head + b"\r\n")
                ending.shutdown(socket.SHUT_WR)
                closing.close()
                await until(lambda: len(server.audience) == 1)
                publish(server, 4)
                await receive(ending, b'"id":"s-4"')
            finally:
                await end(server, accepting)

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("slow_ms", "vanished_ms", "expected_ms"),
    [(30_000, 40_000, 40_000), (1_000, 1_000, 6_000), (300_000, 40_000, 305_000)],
)
def test_a_viewer_that_is_only_slow_is_told_goodbye_before_the_kernel_cuts_it(
    slow_ms: int, vanished_ms: int, expected_ms: int
) -> None:
    options = {"max_unread_bytes": 65_536, "slow_viewer_timeout_ms": slow_ms, "vanished_viewer_timeout_ms": vanished_ms}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sockets.prepare(listener, **options)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == expected_ms
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle_seconds = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert idle_seconds < expected_ms / 1_000
