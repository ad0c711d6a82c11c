"""Socket options by which connections to a host that has lost its power end soon.

Such a host answers nothing, and resets no connection. Its peers wait for as long as their time-outs are. But only its
kernel can acknowledge what was sent, and the kernel of a busy host still does. So missing acknowledgements tell a dead
host from a busy one, and a short time-out for them gives no false alarms.
"""

import socket
import sys

# Shorter than the session of a dead broker in ZooKeeper (6 s), so that its clients are free when its successors lead.
DEAD_HOST_MS = 4_000
_PROBE_SECONDS = 1


def socket_options(timeout_ms: int = DEAD_HOST_MS) -> list[tuple[int, int, int]]:
    """Return options for `setsockopt` that end a connection whose other end acknowledges nothing for this time.

    A connection without traffic is probed each second. Only Linux has a time-out for missing acknowledgements.
    """
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms),
        ]
    return options
