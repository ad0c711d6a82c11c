"""Thousands of viewers in one process: sockets and epoll. They read all that comes and count the swarms."""

import itertools
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emostream_lab.bench import machine
from emostream_lab.bench.decoding import Deflated, Gzipped, Plain
from emostream_lab.bench.figures import Measured
from emostream_lab.processes.servers import HOST

_MAX_CONNECTING = 500
_READ_BYTES = 65_536
_WINDOW_END = re.compile(rb'"end":(\d+)')
# What one viewer in this many gets is decoded and timed. The order of the viewers is random, so this is a fair sample.
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

    The server is one process or several, with the viewers at this port. The first `stalled` viewers never read once
    they are connected. With `is_compressed`, all ask for compression. With `tls`, they connect by it.
    """

    def __init__(
        self,
        port: int,
        paths: Sequence[str],
        number: int,
        server_pids: Sequence[int],
        *,
        stalled: int = 0,
        is_compressed: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        has_websockets = paths[0].partition("?")[0].endswith("/ws")
        request = _websocket_request if has_websockets else _stream_request
        self._requests = itertools.cycle([request(path, is_compressed=is_compressed) for path in paths])
        self._tls = tls
        self._address = (HOST, port)
        self._server_pids = server_pids
        self._epoll = select.epoll()
        self._buffer = bytearray(_READ_BYTES)
        self._sockets: dict[int, socket.socket] = {}
        self.stalled: list[socket.socket] = []
        self._timed: dict[int, Plain | Gzipped | Deflated] = {}
        self._decoded_bytes = 0
        rss_before, began = self._server_rss_kib(), time.perf_counter()
        self._join(number, stalled)
        seconds = time.perf_counter() - began
        self.joined = Joined(seconds, self._server_rss_kib() - rss_before)
        decoder = (Deflated if has_websockets else Gzipped) if is_compressed else Plain
        self._timed = {each: decoder() for each in self._sockets if each % _TIMED_SHARE == 0}

    def read_for(self, seconds: float, warm_up_seconds: float = 1) -> Measured:
        """Read swarms for this many seconds, after a warm-up that does not count. Raises TimeoutError if nothing comes.

        The times are from the end of a swarm's window to its arrival.
        """
        self._read_until(time.perf_counter() + warm_up_seconds, Measured())
        deliveries, self._decoded_bytes = Measured(), 0
        cpu_before = self._server_cpu_seconds()
        self._read_until(time.perf_counter() + seconds, deliveries)
        deliveries.server_cpu_seconds = self._server_cpu_seconds() - cpu_before
        if not deliveries.times_ms:
            raise TimeoutError(f"no viewer got a swarm in {seconds:g} s")
        # The viewers whose streams are decoded tell how many bytes a swarm has.
        deliveries.count = round(len(deliveries.times_ms) * deliveries.received_bytes / self._decoded_bytes)
        return deliveries

    def close(self) -> None:
        """Close all connections at once, with a reset, which leaves no ports waiting to be free again."""
        for each in [*self._sockets.values(), *self.stalled]:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self._sockets.clear()
        self._epoll.close()

    def _server_rss_kib(self) -> float:
        return sum(map(machine.rss_kib, self._server_pids))

    def _server_cpu_seconds(self) -> float:
        return sum(map(machine.cpu_seconds, self._server_pids))

    def _join(self, number: int, stalled: int) -> None:
        connecting: set[int] = set()
        begun = 0
        while begun < number or connecting:
            while begun < number and len(connecting) < _MAX_CONNECTING:
                connecting.add(self._connect(is_stalled=begun < stalled))
                begun += 1
            for descriptor, events in self._epoll.poll(1):
                if events & select.EPOLLOUT:
                    self._sockets[descriptor].send(next(self._requests))
                    self._epoll.modify(descriptor, select.EPOLLIN)
                elif (size_bytes := self._receive(descriptor)) and descriptor in connecting:
                    connecting.remove(descriptor)
                    _check_accepted(bytes(self._buffer[:size_bytes]))
        for descriptor in list(self._sockets)[:stalled]:
            self._epoll.unregister(descriptor)
            self.stalled.append(self._sockets.pop(descriptor))

    def _connect(self, *, is_stalled: bool) -> int:
        connection = socket.socket()
        if is_stalled:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_RECEIVE_BYTES)
        if self._tls:
            connection.connect(self._address)
            connection = self._tls.wrap_socket(connection, server_hostname=HOST)
            connection.setblocking(False)
        else:
            connection.setblocking(False)
            connection.connect_ex(self._address)
        self._sockets[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLOUT)
        return connection.fileno()

    def _read_until(self, deadline: float, deliveries: Measured) -> None:
        while time.perf_counter() < deadline:
            self._read(self._epoll.poll(0.1), deliveries)

    def _read(self, ready: Collection[tuple[int, int]], deliveries: Measured) -> None:
        for descriptor, _ in ready:
            size_bytes = self._receive(descriptor)
            deliveries.received_bytes += size_bytes
            if decoder := self._timed.get(descriptor):
                now_ms = time.time() * 1_000
                ends = _WINDOW_END.findall(decoder.decode(bytes(self._buffer[:size_bytes])))
                deliveries.times_ms.extend(now_ms - int(end) for end in ends)
                self._decoded_bytes += size_bytes

    def _receive(self, descriptor: int) -> int:
        """Read into the buffer, and return how many bytes. Raises ConnectionError at the end of the stream."""
        try:
            # All reads share one buffer. To allocate one for each read would cost as much as the read.
            size_bytes = self._sockets[descriptor].recv_into(self._buffer)
        except ssl.SSLWantReadError:
            return 0
        if not size_bytes:
            raise ConnectionError("the server closed the connection of a viewer that reads")
        return size_bytes


def _check_accepted(data: bytes) -> None:
    if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
        raise ConnectionError(f"a viewer was answered {data[:80]!r}")


def _stream_request(path: str, *, is_compressed: bool) -> bytes:
    encoding = "Accept-Encoding: gzip\r\n" if is_compressed else ""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n{encoding}\r\n".encode()


def _websocket_request(path: str, *, is_compressed: bool) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if is_compressed else ""
    return f"{head}{key}{extension}\r\n".encode()
