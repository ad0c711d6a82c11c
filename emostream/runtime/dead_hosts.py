"""Socket options by which a connection ends soon whose other end has lost its power or its network.

Such a host answers nothing, and resets no connection. Its peers wait for as long as their time-outs are. But only its
kernel can acknowledge what was sent, and the kernel of a busy host still does. So missing acknowledgements tell a dead
host from a busy one, and a short time-out for them gives no false alarms.
"""

import socket
import sys

# Shorter than the session of a dead broker in ZooKeeper (6 s), so that its clients are free when its successors lead.
DEAD_HOST_MS = 4_000


def socket_options(
    timeout_ms: int = DEAD_HOST_MS, *, idle_seconds: int = 1, probe_seconds: int = 1
) -> list[tuple[int, int, int]]:
    """Return options for `setsockopt` that end a connection whose other end acknowledges nothing for this time.

    A connection without traffic for `idle_seconds` is probed every `probe_seconds`. Only Linux has a time-out for
    missing acknowledgements.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_seconds),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe_seconds),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms),
        ]
    return options
