"""Socket options for viewers' connections: the kernel bounds their buffers and ends those of vanished viewers."""

import socket

from emostream.runtime import dead_hosts

_KEEPALIVE_PROBE_SECONDS = 5
# Linux takes no longer time.
_MAX_IDLE_SECONDS = 32_767
# The kernel also ends a connection whose viewer acknowledges but takes no data. Such a slow viewer must get a goodbye
# first, so the kernel's time-out is at least this much longer than the time-out of slow viewers.
_GRACE_MS = 5_000


def prepare(
    listener: socket.socket, *, max_unread_bytes: int, slow_viewer_timeout_ms: int, vanished_viewer_timeout_ms: int
) -> None:
    """Set the options on a listener. The connections that it accepts inherit them.

    A vanished viewer, such as a phone that left the Wi-Fi, does not close its connection, but it no longer acknowledges
    data. The kernel notices that at the next heartbeat, or at a keepalive probe if there is no heartbeat.
    """
    # Without this option, the kernel would buffer megabytes for each viewer that does not read.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max_unread_bytes)
    timeout_ms = max(vanished_viewer_timeout_ms, slow_viewer_timeout_ms + _GRACE_MS)
    idle_seconds = min(max(1, timeout_ms // 1_000 - _KEEPALIVE_PROBE_SECONDS), _MAX_IDLE_SECONDS)
    for option in dead_hosts.socket_options(
        timeout_ms, idle_seconds=idle_seconds, probe_seconds=_KEEPALIVE_PROBE_SECONDS
    ):
        listener.setsockopt(*option)
