"""One event at this subscriber: its history, its viewers, and how fast reactions come."""

from collections import deque
from collections.abc import Mapping
from functools import partial

from emostream.events.labels import OTHER, EventLabels, open_streams
from emostream.model import MAIN, Counts, End, EventPart, Window
from emostream.subscriber import frames, metrics
from emostream.subscriber.audience import Audience
from emostream.subscriber.history import Entry, History, State

_RATE_MS = 10_000


class Channel:
    """Takes the event's part of each record of the cluster's topic."""

    def __init__(self, history: History, audience: Audience) -> None:
        self.history = history
        self.audience = audience
        # The totals of the last ten seconds, at most one for each record.
        self._totals: deque[tuple[int, int]] = deque()

    def take(self, part: EventPart, record: Entry, window: Window, now_ms: int) -> None:
        """Take the part of the next record, of which `record` is the entry of `main`. Repeats are dropped."""
        state = self.history.state
        if state is not None and (part.stream, part.sequence) <= state.position:
            return
        self.count(part.totals, now_ms)
        for message in part.messages(window):
            entry = record.of_event(part.stream, message.sequence, frames.of(message))
            self.audience.publish(entry, part.totals, now_ms, is_end=isinstance(message, End))
        if self.history.state is None or self.history.state.position != (part.stream, part.sequence):
            # An event that was just opened has no message yet, and one whose swarms were missed has none either.
            self.audience.restart(State(part.stream, part.sequence, part.totals), record.counted)

    def count(self, totals: Counts, now_ms: int) -> None:
        """Note the totals as of now."""
        self._totals.append((now_ms, sum(totals.values())))
        while len(self._totals) > 2 and self._totals[1][0] <= now_ms - _RATE_MS:
            self._totals.popleft()

    def reactions_per_second(self, now_ms: int) -> float:
        """How fast reactions came in the last ten seconds. Any thread may ask."""
        seen = list(self._totals)
        before = next((total for at_ms, total in reversed(seen) if at_ms <= now_ms - _RATE_MS), None)
        if not seen:
            return 0.0
        first = seen[0][1] if before is None else before
        return max(0, seen[-1][1] - first) / (_RATE_MS / 1_000)


class ViewersByEvent:
    """Shows the viewers of each event in the metrics. They are counted when somebody asks, on any thread."""

    def __init__(self, channels: Mapping[str, Channel], max_labels: int) -> None:
        """`channels` is the subscriber's own, which changes."""
        self._channels = channels
        self._labels = EventLabels(max_labels)
        for kind, name in enumerate(frames.KINDS):
            metrics.VIEWERS.labels(name, MAIN).set_function(partial(self._count, MAIN, kind))
            metrics.VIEWERS.labels(name, OTHER).set_function(partial(self._count_others, kind))

    def follow(self, parts: Mapping[str, EventPart]) -> None:
        """Take the events of the newest record."""
        gone, new = self._labels.follow(open_streams(parts))
        for kind, name in enumerate(frames.KINDS):
            for event in gone:
                metrics.VIEWERS.remove(name, event)
            for event in new:
                metrics.VIEWERS.labels(name, event).set_function(partial(self._count, event, kind))

    def _count(self, event: str, kind: int) -> int:
        channel = self._channels.get(event)
        return channel.audience.count(kind) if channel else 0

    def _count_others(self, kind: int) -> int:
        return sum(self._count(event, kind) for event in list(self._channels) if self._labels.of(event) == OTHER)
