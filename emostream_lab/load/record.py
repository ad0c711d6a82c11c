"""Where what is measured goes: Locust's own entries, so that its tables, files and workers' reports carry it."""

import locust.stats
from locust.env import Environment

from emostream_lab.load.histogram import bucket_ms
from emostream_lab.load.run import now_seconds


class Record:
    """The entries of one process. What is no request stays out of Locust's total, so that requests/s means requests."""

    def __init__(self, environment: Environment) -> None:
        locust.stats.bucket_response_time = bucket_ms
        self.failures = 0
        self._environment = environment

    def request(self, method: str, name: str, due_seconds: float, error: str | None = None) -> None:
        """A request ended now; it should have been sent at `due_seconds`."""
        self.failures += error is not None
        self._environment.events.request.fire(
            request_type=method,
            name=name,
            response_time=(now_seconds() - due_seconds) * 1_000,
            response_length=0,
            exception=error,
            context={},
        )

    def timed(self, entry: tuple[str, str], latency_ms: float | None, times: int = 1) -> None:
        """So many things of this kind took so long; None where they count and say nothing about latency."""
        method, name = entry
        stats = self._environment.stats.get(name, method)
        for _ in range(times):
            stats.log(latency_ms, 0)

    def failed(self, method: str, name: str, reason: str) -> None:
        """Something went wrong that was no request."""
        self.failures += 1
        self._environment.stats.log_error(method, name, reason)
