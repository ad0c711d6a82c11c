"""Clients that post as fast as the server answers, on kept-alive connections: a closed loop with epoll."""

import itertools
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from emostream_lab.bench import machine
from emostream_lab.bench.figures import Measured
from emostream_lab.processes.servers import HOST

_READ_BYTES = 65_536
_HEAD_END = b"\r\n\r\n"


@dataclass
class Answers(Measured):
    """The answers within a time, all of them timed, and how many there were of each status."""

    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float
    received: bytes = b""


class Clients:
    """A number of connections, each with one request in flight at any time. They take paths and bodies in turn."""

    def __init__(self, port: int, paths: Sequence[str], bodies: Sequence[bytes], connections: int) -> None:
        """There must be at least as many bodies as paths."""
        self._requests = [
            _request(port, path, body) for path, body in zip(itertools.cycle(paths), bodies, strict=False)
        ]
        self._next = 0
        self._address = (HOST, port)
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        for _ in range(connections):
            self._connect()

    def post_for(self, seconds: float, server_pid: int, warm_up_seconds: float = 1) -> Answers:
        """Post for this many seconds, after a warm-up that does not count."""
        self._exchange_until(time.perf_counter() + warm_up_seconds, Answers())
        answers = Answers()
        cpu_before = machine.cpu_seconds(server_pid)
        self._exchange_until(time.perf_counter() + seconds, answers)
        answers.server_cpu_seconds = machine.cpu_seconds(server_pid) - cpu_before
        return answers

    def close(self) -> None:
        """Close all connections, even those with a request in flight."""
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._epoll.close()

    def _exchange_until(self, deadline: float, answers: Answers) -> None:
        while time.perf_counter() < deadline:
            for descriptor, _ in self._epoll.poll(0.1):
                self._read(self._connections[descriptor], answers)

    def _read(self, connection: _Connection, answers: Answers) -> None:
        data = connection.socket.recv(_READ_BYTES)
        connection.received += data
        head, found, body = connection.received.partition(_HEAD_END)
        if not found or len(body) < _content_length(head):
            if not data:
                raise ConnectionError(f"{self._address} closed a connection before its answer")
            return
        answers.count += 1
        answers.times_ms.append(1_000 * (time.perf_counter() - connection.sent_at))
        answers.statuses[int(head[9:12])] += 1
        if head.startswith(b"HTTP/1.0") or b"onnection: close" in head:
            self._epoll.unregister(connection.socket)
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
            self._connect()
        else:
            self._send(connection)

    def _connect(self) -> None:
        # If a server closes the connection after each answer, the time to connect again is part of its latency.
        connection = _Connection(socket.socket(), time.perf_counter())
        connection.socket.connect(self._address)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        connection.received = b""
        connection.sent_at = time.perf_counter()
        connection.socket.sendall(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)


def post(  # noqa: PLR0917 - a closed loop has all of these
    port: int, server_pid: int, paths: Sequence[str], bodies: Sequence[bytes], connections: int, seconds: float
) -> Answers:
    """Return the answers to what many connections post for this many seconds. Each one must be 200 or 202."""
    clients = Clients(port, paths, bodies, connections)
    try:
        answers = clients.post_for(seconds, server_pid)
    finally:
        clients.close()
    unwanted = {status: count for status, count in answers.statuses.items() if status not in {200, 202}}
    assert not unwanted, f"port {port} answered {unwanted}"
    return answers


def _request(port: int, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    return head.encode() + b"%d\r\n\r\n" % len(body) + body


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
