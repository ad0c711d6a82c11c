"""A viewer for tests: one HTTP connection whose answer is read in the background, or not at all."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from emostream import model
from emostream_lab.processes import servers

# It ends a test that hangs. On a busy machine a new aggregator alone needs half a minute.
TIMEOUT_SECONDS = 120


def wait_until(
    condition: Callable[[], object],
    seconds: float = TIMEOUT_SECONDS,
    describe: Callable[[], object] = str,
    every_seconds: float = 0.05,
) -> None:
    """Return once the condition holds; fail, showing `describe()`, if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(every_seconds)


class Connection:
    """Sends a request's head and collects all that comes back."""

    def __init__(self, port: int, target: str, *, method: str = "GET", headers: tuple[str, ...] = ()) -> None:
        self._socket = socket.create_connection((servers.HOST, port), timeout=60)
        self._received = b""
        self._has_ended = threading.Event()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {servers.HOST}:{port}", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(1 << 16):
                self._received += data
        self._has_ended.set()

    def close(self) -> None:
        # The reader sits in recv(), which keeps the connection open until it is shut down.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def head(self) -> str:
        """The status line and headers."""
        wait_until(lambda: b"\r\n\r\n" in self._received or self._has_ended.is_set())
        return self._received.partition(b"\r\n\r\n")[0].decode()

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def body(self) -> bytes:
        """The body received so far."""
        return self._received.partition(b"\r\n\r\n")[2]

    def json(self) -> Any:
        """The complete answer, once the server has closed it."""
        assert self._has_ended.wait(20)
        return json.loads(self.body)

    def messages(self) -> list[model.ViewerMessage]:
        """The SSE messages received so far."""
        whole_events = self.body.rpartition(b"\n\n")[0]
        lines = whole_events.split(b"\n")
        data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
        return [model.decode_stream_message(text) for text in data]

    def seen(self) -> list[str]:
        """The same in short: `swarm s-7`."""
        return [f"{message.__struct_config__.tag} {getattr(message, 'id', '')}".strip() for message in self.messages()]

    def wait_for(self, last: str, seconds: float = 20) -> list[str]:
        """What was seen up to this message."""
        wait_until(lambda: self.seen()[-1:] == [last], seconds, self.seen)
        return self.seen()

    def wait_end(self, seconds: float = TIMEOUT_SECONDS) -> None:
        """Return once the server has closed the connection."""
        assert self._has_ended.wait(seconds), self.seen()


def get(port: int, target: str, *, headers: tuple[str, ...] = (), **more: Any) -> Connection:
    """A request whose answer is short. The server closes the connection after it."""
    with Connection(port, target, headers=("Connection: close", *headers), **more) as connection:
        connection.wait_end()
    return connection
