"""The alerts of hosts that run, as their Prometheus tells them."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_EVERY_SECONDS = 1


class Alerts:
    """Asks a Prometheus which alerts fire."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1/alerts"

    def firing(self) -> list[dict[str, str]]:
        """The labels of each alert that fires now."""
        with urllib.request.urlopen(self._url, timeout=30) as answer:  # noqa: S310 - of our own Prometheus
            alerts = json.loads(answer.read())["data"]["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

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
