"""What the kernel does for viewers' connections: it bounds their buffers, and ends those whose viewer has vanished."""

import socket
import sys

_KEEPALIVE_PROBE_SECONDS = 5
# From the time-out of a slow viewer to that of a vanished one. The kernel also ends connections whose peer answers but
# takes nothing, and such a viewer is to be told goodbye first.
_GRACE_MS = 5_000


def prepare(
    listener: socket.socket, *, max_unread_bytes: int, slow_viewer_timeout_ms: int, vanished_viewer_timeout_ms: int
) -> None:
    """Set the options; the connections that this listener accepts inherit them.

    A viewer that has vanished says nothing: a phone that leaves the Wi-Fi acknowledges nothing any more. Each heartbeat
    is something to acknowledge; where there is none, keepalive asks. Only Linux has a time-out for it.
    """
    # Without it the kernel would buffer megabytes for each viewer that does not read.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max_unread_bytes)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        timeout_ms = max(vanished_viewer_timeout_ms, slow_viewer_timeout_ms + _GRACE_MS)
        idle_seconds = max(1, timeout_ms // 1_000 - _KEEPALIVE_PROBE_SECONDS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(idle_seconds, 32_767))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_PROBE_SECONDS)
