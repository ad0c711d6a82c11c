"""Whether a process can do its work now, and if not, why: what GET /readyz answers and the logs tell on each change."""

import os
import socket
import threading

from emostream.runtime import logs

log = logs.get(__name__)

# What a public listener says of a process that is not ready. It gives no reasons, because they name our machines.
NOT_READY = "The service cannot do its work now; its admin listener says why."


class Readiness:
    """Named conditions, each met or not for a reason in words. Safe to use from any thread.

    A condition that was never reported counts as not met, so a process is ready only when each part has said so.
    """

    def __init__(self, *conditions: str) -> None:
        self._reasons: dict[str, str | None] = dict.fromkeys(conditions, "starting")
        self._lock = threading.Lock()

    def met(self, condition: str) -> None:
        """This part works."""
        self._set(condition, None)

    def not_met(self, condition: str, reason: str) -> None:
        """This part does not work, for this reason: a sentence an operator can act on."""
        self._set(condition, reason)

    def reasons(self) -> dict[str, str]:
        """The conditions that are not met, with their reasons; empty when ready."""
        with self._lock:
            return self._unmet()

    def is_ready(self) -> bool:
        return not self.reasons()

    def _unmet(self) -> dict[str, str]:
        return {name: reason for name, reason in self._reasons.items() if reason is not None}

    def _set(self, condition: str, reason: str | None) -> None:
        with self._lock:
            if condition not in self._reasons:
                raise KeyError(condition)
            changed = self._reasons[condition] != reason
            self._reasons[condition] = reason
            if changed:
                _tell_systemd(self._unmet())
        if changed:
            log.info("readiness", condition=condition, met=reason is None, reason=reason)


def _tell_systemd(reasons: dict[str, str]) -> None:
    """Let `systemctl status` show what is amiss, and a start by systemd end when all is well; nothing elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    status = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "ready"
    # It has no message for a service that is not ready any more, but the status says so.
    message = f"STATUS={status}" if reasons else f"READY=1\nSTATUS={status}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        # A name that begins with @ is an abstract one.
        notify.sendto(message.encode(), address.replace("@", "\0", 1))
