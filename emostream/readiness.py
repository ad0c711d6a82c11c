"""Whether a process can do its work now, and if not, why: what GET /readyz answers and the logs tell on each change."""

import threading

from emostream import logs

log = logs.get(__name__)


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
            return {name: reason for name, reason in self._reasons.items() if reason is not None}

    def is_ready(self) -> bool:
        return not self.reasons()

    def _set(self, condition: str, reason: str | None) -> None:
        with self._lock:
            if condition not in self._reasons:
                raise KeyError(condition)
            changed = self._reasons[condition] != reason
            self._reasons[condition] = reason
        if changed:
            log.info("readiness", condition=condition, met=reason is None, reason=reason)
