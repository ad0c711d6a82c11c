"""Records measurements in Locust's own statistics, so that its tables, files and worker reports contain them."""

import locust.stats
from locust.env import Environment

from emostream_lab.account.histogram import bucket_ms
from emostream_lab.load.run import now_seconds


class Record:
    """The statistics of one process.

    Only requests count towards Locust's total, so that its requests/s means requests.
    """

    def __init__(self, environment: Environment) -> None:
        locust.stats.bucket_response_time = bucket_ms
        self.failures = 0
        self._environment = environment

    def request(self, method: str, name: str, due_seconds: float, error: str | None = None) -> None:
        """Record a request that ended now. Its latency counts from `due_seconds`, when it was due."""
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
        """Record `times` events with this latency. If it is None, they count but say nothing about latency."""
        method, name = entry
        stats = self._environment.stats.get(name, method)
        for _ in range(times):
            stats.log(latency_ms, 0)

    def failed(self, method: str, name: str, reason: str) -> None:
        """Record a failure of something other than a request."""
        self.failures += 1
        self._environment.stats.log_error(method, name, reason)
