"""A viewer's seat is free when its machine vanishes or it closes, but not when it only closes its sending side."""

import asyncio
import socket
import subprocess
import sys

import pytest
import uvloop

from emostream.subscriber import sockets
from emostream.subscriber.connection import Handshake
from emostream.subscriber.server import Server
from tests.unit.subscriber.rig import new_server, publish
from tests.unit.subscriber.test_server import STREAM, WEBSOCKET, until


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


@pytest.mark.parametrize("stream", ["sse", "ws"])
def test_the_seat_of_a_viewer_that_has_vanished_is_free_soon(stream: str) -> None:
    # In its own user namespace, a process may create networks without root.
    in_own_network = ["unshare", "--map-root-user", "--net"]
    scenario = [sys.executable, "-m", "tests.integration.vanishing_viewer", stream]
    ran = subprocess.run([*in_own_network, *scenario], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"does this kernel allow user namespaces to every user?\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("request_head", [STREAM, WEBSOCKET], ids=["sse", "ws"])
def test_who_only_ends_what_it_sends_stays_and_who_closes_is_gone(request_head: bytes) -> None:
    async def scenario() -> None:
        # Neither a heartbeat nor a swarm may reveal that a connection is closed.
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
