"""The simplest possible fan-out: a loop of `send` over all sockets, with no buffer, no history and no checks.

`python -m emostream_lab.bench.peers.send_loop PORT` sends the frames that a subscriber would send, ten times a second.
It is not usable as a server: it ends at the first viewer that does not read.
"""

import contextlib
import resource
import selectors
import socket
import sys
import time

from emostream import palette
from emostream.subscriber import frames
from emostream_lab.bench.audience import Audience
from emostream_lab.processes.servers import HOST

_INTERVAL_SECONDS = 0.1
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def main(port: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server((HOST, port), backlog=4_096)
    listener.setblocking(False)
    selector = selectors.EpollSelector()
    selector.register(listener, selectors.EVENT_READ)
    viewers: set[socket.socket] = set()
    audience = Audience(100, int(1_000 * _INTERVAL_SECONDS), 7, palette.DEFAULT[:1])
    due = time.monotonic()
    while True:
        for key, _ in selector.select(max(0, due - time.monotonic())):
            if not isinstance(key.data, socket.socket):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        selector.register(connection, selectors.EVENT_READ, connection)
            else:
                _receive(key.data, selector, viewers)
        if time.monotonic() >= due:
            due += _INTERVAL_SECONDS
            frame = frames.of(audience.next_swarm().for_viewers()).sse
            gone = set()
            for viewer in viewers:
                try:
                    viewer.send(frame)
                except ConnectionError:
                    gone.add(viewer)
            viewers -= gone


def _receive(connection: socket.socket, selector: selectors.BaseSelector, viewers: set[socket.socket]) -> None:
    """Add a viewer when its request comes, and forget it when it disconnects."""
    try:
        is_request = bool(connection.recv(4_096))
    except ConnectionResetError:
        is_request = False
    if is_request:
        connection.send(_HEAD)
        viewers.add(connection)
    else:
        viewers.discard(connection)
        selector.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
