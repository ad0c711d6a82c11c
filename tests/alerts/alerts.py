"""The alerts of hosts that run, and what their canary sees, as their Prometheus tells it."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EVERY_SECONDS = 1


class Alerts:
    """Asks a Prometheus which alerts fire."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1"

    def firing(self) -> list[dict[str, str]]:
        """The labels of each alert that fires now."""
        return [alert["labels"] for alert in self._ask("alerts")["alerts"] if alert["state"] == "firing"]

    def sights(self) -> float:
        """How many of its reactions the canary has seen come back, over all clusters."""
        found = self._ask("query?query=sum(emostream_canary_seen_seconds_count)")["result"]
        return float(found[0]["value"][1]) if found else 0

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{path}", timeout=30) as answer:  # noqa: S310 - of our own Prometheus
            return json.loads(answer.read())["data"]

    def names(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {labels["alertname"] for labels in self.firing()}

    @contextmanager
    def noted(self) -> Iterator[dict[str, float]]:
        """Within the block: the time, of `time.monotonic`, at which each alert was first seen to fire."""
        seen: dict[str, float] = {}
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(_EVERY_SECONDS):
                for name in self.names():
                    seen.setdefault(name, time.monotonic())

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield seen
        finally:
            is_over.set()
            looking.join()
