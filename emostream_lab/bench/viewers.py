"""Thousands of viewers in one process: plain sockets and epoll. They read all that comes and count the swarms."""

import itertools
import re
import select
import socket
import struct
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emostream_lab.bench import machine
from emostream_lab.bench.figures import Measured
from emostream_lab.processes.servers import HOST

_MAX_CONNECTING = 500
_READ_BYTES = 65_536
_SWARM = b'"end":'
_WINDOW_END = re.compile(rb'"end":(\d+)')
# One viewer in this many is timed. The order of the viewers is random, so these are a fair sample.
_TIMED_SHARE = 16
# The kernel doubles this size. The buffer of a stalled viewer must be small, so that the server has to hold its data.
_STALLED_RECEIVE_BYTES = 4_096


@dataclass(frozen=True)
class Joined:
    """How the viewers came: all connected within `seconds`, and the server's memory grew by `server_kib`."""

    seconds: float
    server_kib: float


class Viewers:
    """A number of connections, dealt out evenly over these streams.

    The first `stalled` of them never read once they are connected.
    """

    def __init__(self, port: int, paths: Sequence[str], number: int, server_pid: int, stalled: int = 0) -> None:
        self._requests = itertools.cycle(
            [_websocket_request(path) if path.endswith("/ws") else _stream_request(path) for path in paths]
        )
        self._address = (HOST, port)
        self._server_pid = server_pid
        self._epoll = select.epoll()
        self._buffer = bytearray(_READ_BYTES)
        self._sockets: dict[int, socket.socket] = {}
        self.stalled: list[socket.socket] = []
        rss_before, began = machine.rss_kib(server_pid), time.perf_counter()
        self._join(number, stalled)
        seconds = time.perf_counter() - began
        self.joined = Joined(seconds, machine.rss_kib(server_pid) - rss_before)

    def read_for(self, seconds: float, warm_up_seconds: float = 1) -> Measured:
        """Read swarms for this many seconds, after a warm-up that does not count. Raises TimeoutError if nothing comes.

        The times are from the end of a swarm's window to its arrival.
        """
        self._read_until(time.perf_counter() + warm_up_seconds, Measured())
        deliveries = Measured()
        cpu_before = machine.cpu_seconds(self._server_pid)
        self._read_until(time.perf_counter() + seconds, deliveries)
        deliveries.server_cpu_seconds = machine.cpu_seconds(self._server_pid) - cpu_before
        if not deliveries.count:
            raise TimeoutError(f"no viewer got a swarm in {seconds:g} s")
        return deliveries

    def close(self) -> None:
        """Close all connections at once, with a reset, which leaves no ports waiting to be free again."""
        for each in [*self._sockets.values(), *self.stalled]:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self._sockets.clear()
        self._epoll.close()

    def _join(self, number: int, stalled: int) -> None:
        connecting: set[int] = set()
        begun = 0
        while begun < number or connecting:
            while begun < number and len(connecting) < _MAX_CONNECTING:
                connecting.add(self._connect(is_stalled=begun < stalled))
                begun += 1
            for descriptor, events in self._epoll.poll(1):
                connection = self._sockets[descriptor]
                if events & select.EPOLLOUT:
                    connection.send(next(self._requests))
                    self._epoll.modify(descriptor, select.EPOLLIN)
                elif descriptor in connecting:
                    connecting.remove(descriptor)
                    _check_accepted(connection.recv(_READ_BYTES))
                else:
                    connection.recv(_READ_BYTES)
        for descriptor in list(self._sockets)[:stalled]:
            self._epoll.unregister(descriptor)
            self.stalled.append(self._sockets.pop(descriptor))

    def _connect(self, *, is_stalled: bool) -> int:
        connection = socket.socket()
        if is_stalled:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_RECEIVE_BYTES)
        connection.setblocking(False)
        connection.connect_ex(self._address)
        self._sockets[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLOUT)
        return connection.fileno()

    def _read_until(self, deadline: float, deliveries: Measured) -> None:
        while time.perf_counter() < deadline:
            self._read(self._epoll.poll(0.1), deliveries)

    def _read(self, ready: Collection[tuple[int, int]], deliveries: Measured) -> None:
        # All reads share one buffer. To allocate one for each read would cost as much as the read.
        buffer = self._buffer
        for descriptor, _ in ready:
            size_bytes = self._sockets[descriptor].recv_into(buffer)
            if not size_bytes:
                raise ConnectionError("the server closed the connection of a viewer that reads")
            swarms = buffer.count(_SWARM, 0, size_bytes)
            deliveries.count += swarms
            if swarms and descriptor % _TIMED_SHARE == 0:
                now_ms = time.time() * 1_000
                ends = _WINDOW_END.findall(buffer, 0, size_bytes)
                deliveries.times_ms.extend(now_ms - int(end) for end in ends)


def _check_accepted(data: bytes) -> None:
    if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
        raise ConnectionError(f"a viewer was answered {data[:80]!r}")


def _stream_request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n".encode()


def _websocket_request(path: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    return (head + key).encode()
