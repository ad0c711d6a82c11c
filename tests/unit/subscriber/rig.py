"""A subscriber's server without Kafka, and a connection that gets its bytes in chosen pieces."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from emostream.config import SubscriberSettings, TokensSettings
from emostream.runtime.readiness import Readiness
from emostream.subscriber.connection import Handshake
from emostream.subscriber.server import Server
from emostream.tokens.gate import Gate
from tests.unit.subscriber.examples import entry


class FakeTransport:
    """The transport of a connection's protocol. It keeps what was written, and whether it was closed."""

    def __init__(self, protocol: Any) -> None:
        # The fan-out writes to the descriptor, past the transport.
        self.socket, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.protocol = protocol
        self.sent = b""
        self.has_ended = False
        self.is_cut = False
        protocol.connection_made(self)

    def write(self, data: bytes) -> None:
        assert not self.has_ended, "nothing may follow the end"
        self.sent += data

    def write_eof(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.has_ended = self.is_cut = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_cut

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self.socket

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def feed(self, pieces: Iterable[bytes]) -> None:
        """What the peer sends; each piece is one packet."""
        for piece in pieces:
            if piece and not self.is_cut:
                self.protocol.data_received(piece)

    def end(self) -> None:
        """The peer closes its sending side."""
        if not self.is_cut and not self.protocol.eof_received():
            self.close()

    def fanned_out(self) -> bytes:
        """What the fan-out wrote."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    def release(self) -> None:
        """The connection is lost."""
        with self.socket, self.peer:
            self.protocol.connection_lost(None)


def new_server(gate: Gate | None = None, **settings: Any) -> Server:
    """One that has swarms 1 to 3 of the stream `s`. There must be a running event loop."""
    server = Server(SubscriberSettings(**settings), Readiness(), gate or Gate(TokensSettings()))
    for sequence in (1, 2, 3):
        publish(server, sequence)
    return server


def publish(server: Server, sequence: int) -> None:
    server.publish(entry("s", sequence), {"🔥": sequence})


@contextlib.contextmanager
def connected(gate: Gate | None = None, **settings: Any) -> Iterator[tuple[Server, FakeTransport]]:
    """A server with these settings, and a connection to it."""
    server = new_server(gate, **settings)
    transport = FakeTransport(Handshake(server))
    try:
        yield server, transport
    finally:
        transport.release()


def exchange(*pieces: bytes, **settings: Any) -> bytes:
    """The answer to these packets."""

    async def run() -> bytes:
        with connected(**settings) as (_, transport):
            transport.feed(pieces)
            return transport.sent

    return asyncio.run(run())


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run
