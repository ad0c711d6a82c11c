"""An address that answers nothing, like that of a host without power."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from emostream_lab.processes import servers


@contextmanager
def silent_address() -> Iterator[str]:
    """`host:port` of a listener that takes no more connections. The kernel drops what asks for one."""
    with ExitStack() as cleanup:
        listener = cleanup.enter_context(socket.socket())
        listener.bind((servers.HOST, servers.free_port()))
        listener.listen(0)
        # Linux has room for one more than it was told.
        for _ in range(2):
            filler = cleanup.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield ":".join(map(str, listener.getsockname()))
