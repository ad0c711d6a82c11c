"""Which reactions of the canary each cluster has shown, and which are overdue. Pure: time comes in as an argument."""

from collections.abc import Collection, Mapping


class Sights:
    """Tells reactions apart by their emoji. The canary sends another one each time, and nobody else does.

    Times are seconds of any one clock. An emoji may be sent again once its last reaction is seen or overdue.
    """

    def __init__(self, clusters: Collection[str], timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        # For each cluster, when each reaction was sent that it has not shown. Overdue ones go, so there are few.
        self._waiting: dict[str, dict[str, float]] = {cluster: {} for cluster in clusters}

    def sent(self, emoji: str, now: float) -> None:
        """Expect this emoji at each cluster. Call it before the reaction is sent: it may be seen before the answer."""
        for waiting in self._waiting.values():
            waiting[emoji] = now

    def not_taken(self, emoji: str) -> None:
        """Expect it no more: ingest refused it, or may have."""
        for waiting in self._waiting.values():
            waiting.pop(emoji, None)

    def seen(self, cluster: str, counts: Mapping[str, int], now: float) -> list[float]:
        """Take the counts of a swarm. Returns for each reaction in it how many seconds it took."""
        waiting = self._waiting[cluster]
        return [now - waiting.pop(emoji) for emoji in counts if emoji in waiting]

    def overdue(self, now: float) -> list[str]:
        """Give up what was not seen in time. Returns the cluster of each such reaction."""
        found = []
        for cluster, waiting in self._waiting.items():
            late = [emoji for emoji, sent in waiting.items() if now - sent >= self._timeout_seconds]
            for emoji in late:
                del waiting[emoji]
            found += [cluster] * len(late)
        return found
