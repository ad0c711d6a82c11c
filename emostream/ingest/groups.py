"""The group commit of ingest: puts several requests into one Kafka record, and counts what is in flight.

Pure: no input or output.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from emostream import model

Waiter = TypeVar("Waiter")


class NoRoomError(Exception):
    """The request was refused, because the requests in flight have reached a limit."""


@dataclass(eq=False)
class Group(Generic[Waiter]):
    """The requests whose reactions go into one record. Each request has its own waiter for the outcome."""

    payloads: list[bytes] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """The reactions to `main` by emoji."""
    event_counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """The reactions to other events, by event and emoji."""
    requests: dict[str, list[str]] = field(default_factory=dict)
    """The ids of the requests to each event."""
    size_bytes: int = 0

    @property
    def reactions(self) -> dict[str, int]:
        """The reactions to each event, `main` among them."""
        counts = {model.MAIN: self.counts, **self.event_counts}
        return {event: each.total() for event, each in counts.items()}

    def record(self) -> bytes:
        """Return the record's value: one JSON list of all reactions."""
        return b"[" + b",".join(self.payloads) + b"]"

    def headers(self, ingest: str) -> list[tuple[str, bytes]]:
        """Return the record's headers: the counts by emoji of its list, and of other events, and who sent it.

        `ingest` names the process that writes the record.
        """
        found = [(model.COUNTS_HEADER, model.encode(self.counts))]
        if self.event_counts:
            found.append((model.EVENT_COUNTS_HEADER, model.encode(self.event_counts)))
        return [*found, (model.REQUESTS_HEADER, model.encode(model.Requests(ingest, self.requests)))]


class Groups(Generic[Waiter]):
    """Puts requests into groups and counts the requests in flight.

    A request is in flight from `add` until its group is resolved. With `max_requests` or `max_bytes` in flight, the
    next request is refused at once.
    """

    def __init__(self, max_group_bytes: int, max_requests: int, max_bytes: int) -> None:
        self._max_group_bytes = max_group_bytes
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._open: Group[Waiter] | None = None
        self.requests_in_flight = 0
        self.bytes_in_flight = 0

    @property
    def is_full(self) -> bool:
        """Whether the next request will be refused."""
        return self.requests_in_flight >= self._max_requests or self.bytes_in_flight >= self._max_bytes

    @property
    def has_open(self) -> bool:
        """Whether a group waits for more requests."""
        return self._open is not None

    def add(
        self, request: str, counts: model.Counts, payload: bytes, waiter: Waiter, event: str = model.MAIN
    ) -> list[Group[Waiter]]:
        """Add a request to the open group. Returns the groups that are now closed, in the order in which to send them.

        `request` is its id.

        `counts` are the counts of the reactions in `payload`, which are all to one event. A request is never split: if
        it does not fit into the open group, it begins the next one. Raises NoRoomError if the request is refused.
        """
        if self.is_full:
            raise NoRoomError
        self.requests_in_flight += 1
        size_bytes = len(payload) + len(request)
        self.bytes_in_flight += size_bytes
        closed = []
        if self._open is not None and self._open.size_bytes + size_bytes > self._max_group_bytes:
            closed.append(self._open)
            self._open = None
        if self._open is None:
            self._open = Group()
        group = self._open
        group.payloads.append(payload)
        group.waiters.append(waiter)
        group.requests.setdefault(event, []).append(request)
        counted = group.counts if event == model.MAIN else group.event_counts[event]
        for emoji, count in counts.items():
            counted[emoji] += count
        group.size_bytes += size_bytes
        if group.size_bytes >= self._max_group_bytes:
            closed.append(group)
            self._open = None
        return closed

    def is_waiting(self, event: str) -> bool:
        """Whether the open group has a reaction to this event, which is not `main`."""
        return self._open is not None and event in self._open.event_counts

    def close(self) -> Group[Waiter] | None:
        """Close the open group and return it, or return None if there is none. Called when the group's time is over."""
        group, self._open = self._open, None
        return group

    def resolve(self, group: Group[Waiter]) -> None:
        """Count a group as no longer in flight, because its outcome is known."""
        self.requests_in_flight -= len(group.waiters)
        self.bytes_in_flight -= group.size_bytes
