"""Attacks from outside, for tests that then ask whether all went on. Each is bounded in number and in time.

They go to loopback and to the hosts that a test has made, and nowhere else.
"""

import base64
import contextlib
import ipaddress
import itertools
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")

ALLOWED = [ipaddress.ip_network(network) for network in ("127.0.0.0/8", "192.168.60.0/24")]
TIMEOUT_SECONDS = 20
MOST_SECONDS = 120


class Target(NamedTuple):
    """Who is attacked, and with what the server is checked if it speaks TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        """Raises OSError if nobody accepts, and AssertionError for a host that is not of a test."""
        assert any(ipaddress.ip_address(self.host) in network for network in ALLOWED), self.host
        connection = socket.create_connection((self.host, self.port), timeout=TIMEOUT_SECONDS)
        return self.context.wrap_socket(connection, server_hostname=self.host) if self.context else connection

    def head(self, request: str, *headers: str) -> bytes:
        return "\r\n".join([f"{request} HTTP/1.1", f"Host: {self.host}:{self.port}", *headers, "", ""]).encode()


@contextlib.contextmanager
def half_sent(target: Target, what: bytes, number: int) -> Iterator[None]:
    """So many clients that have sent this much, and send nothing more while the block runs."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            with contextlib.suppress(OSError):
                stack.enter_context(target.connect()).sendall(what)
        yield


def slow_bodies(target: Target, path: str, token: str, number: int = 300) -> contextlib.AbstractContextManager[None]:
    """Requests whose bodies never come."""
    headers = ("Content-Type: application/json", "Content-Length: 100000", f"Authorization: Bearer {token}")
    return half_sent(target, target.head(f"POST {path}", *headers) + b"[", number)


def half_heads(target: Target, number: int = 300) -> contextlib.AbstractContextManager[None]:
    """Requests whose heads never end."""
    return half_sent(target, b"GET / HTTP/1.1\r\nHost: x\r\nX-", number)


def connect_flood(target: Target, number: int = 3_000) -> int:
    """Connect and leave, again and again. Returns how often that worked."""
    worked = 0
    for _ in within(range(number)):
        with contextlib.suppress(OSError):
            target.connect().close()
            worked += 1
    return worked


def huge_heads(target: Target, number: int = 30) -> Counter[int]:
    """Heads of 256 KiB, in one header and in many. Returns the statuses of the answers; 0 for a cut connection."""
    long = target.head("GET /", "X-Long: " + "x" * (256 << 10))
    many = target.head("GET /", *(f"X-{n}: {'x' * 100}" for n in range(2_500)))
    return Counter(status_of(target, head) for head in within([long, many] * (number // 2)))


def with_event_ids(target: Target, path: str, number: int = 10_000) -> Counter[int]:
    """Ask for so many events that are not there; `path` has their place. Returns the statuses of the answers."""
    return Counter(
        status_of(target, target.head(f"GET {path.format(event=f'attack-{n}')}", "Connection: close"))
        for n in within(range(number))
    )


def with_tokens(target: Target, request: str, tokens: Iterable[str], body: bytes = b"{}") -> Counter[int]:
    """Ask with each of these tokens. Returns the statuses of the answers."""
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
    return Counter(
        status_of(target, target.head(request, *headers, f"Authorization: Bearer {token}") + body) for token in tokens
    )


# Frames that no client may send: without a mask, of an unknown kind, with a reserved bit, a ping that is too long, a
# message that is announced with 2 ** 40 bytes, and junk that begins like a frame of 0 bytes with reserved bits.
BAD_FRAMES = (
    b"\x81\x02hi",
    b"\x83\x80\0\0\0\0",
    b"\xf1\x80\0\0\0\0",
    b"\x89\xfe\x10\0\0\0\0\0" + b"x" * 4_096,
    b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0",
    b"\xe0\x80" + bytes(range(62)),
)


def bad_frames(target: Target, path: str, token: str) -> list[bool]:
    """Send each of these frames. Returns for each whether the server ended the connection."""
    return [_ends(target, path, token, frame) for frame in BAD_FRAMES]


def ping_flood(target: Target, path: str, token: str, number: int = 20_000) -> int:
    """Send pings, and read no answer. Returns how many the server took before it stopped reading."""
    ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
    sent = 0
    with open_websocket(target, path, token) as connection:
        connection.settimeout(2)
        with contextlib.suppress(OSError):
            for _ in within(range(number)):
                connection.sendall(ping)
                sent += 1
    return sent


@contextlib.contextmanager
def open_websocket(target: Target, path: str, token: str) -> Iterator[socket.socket]:
    key = base64.b64encode(os.urandom(16)).decode()
    headers = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
    with target.connect() as connection:
        connection.sendall(target.head(f"GET {path}", *headers, f"Authorization: Bearer {token}"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 101 ")
        yield connection


def status_of(target: Target, request: bytes) -> int:
    """The status of the answer to a request; 0 if the connection is cut without one."""
    try:
        with target.connect() as connection:
            # A server that has heard enough may answer and close before all is sent.
            with contextlib.suppress(OSError):
                connection.sendall(request)
            words = connection.recv(4_096).split(b" ", 2)
            return int(words[1]) if len(words) > 1 else 0
    except OSError:
        return 0


def within(each: Iterable[T]) -> Iterator[T]:
    """Go through these, but no longer than MOST_SECONDS."""
    ends = time.monotonic() + MOST_SECONDS
    return itertools.takewhile(lambda _: time.monotonic() < ends, each)


def _ends(target: Target, path: str, token: str, frame: bytes) -> bool:
    ends = time.monotonic() + TIMEOUT_SECONDS
    with open_websocket(target, path, token) as connection:
        try:
            connection.sendall(frame)
            # The server sends swarms and heartbeats for as long as it takes the connection for good.
            while connection.recv(1 << 16):
                if time.monotonic() > ends:
                    return False
        except TimeoutError:
            return False
        except OSError:
            pass
        return True
