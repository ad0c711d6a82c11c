"""Group commit's bookkeeping: which requests share a Kafka record, and how much is in flight. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from emostream import model

Waiter = TypeVar("Waiter")


class NoRoomError(Exception):
    """As much is in flight as may be; the request was not taken."""


@dataclass(eq=False)
class Group(Generic[Waiter]):
    """Requests whose reactions go into one record. Each request waits for it with a waiter of its own."""

    payloads: list[bytes] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0

    @property
    def reactions(self) -> int:
        return self.counts.total()

    def record(self) -> bytes:
        """The record's value: one JSON list of all reactions."""
        return b"[" + b",".join(self.payloads) + b"]"

    def headers(self) -> list[tuple[str, bytes]]:
        """The record's headers: what is in its list, counted."""
        return [(model.COUNTS_HEADER, model.encode(self.counts))]


class Groups(Generic[Waiter]):
    """Puts requests into groups and counts what is in flight.

    In flight is every request that was taken and whose group was not resolved yet. Past `max_requests` or `max_bytes`
    in flight a request is refused, at once.
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
        """Whether the next request would be refused."""
        return self.requests_in_flight >= self._max_requests or self.bytes_in_flight >= self._max_bytes

    @property
    def has_open(self) -> bool:
        """Whether a group waits for more requests."""
        return self._open is not None

    def add(self, counts: model.Counts, payload: bytes, waiter: Waiter) -> list[Group[Waiter]]:
        """Take a request; the groups that this closed are to be sent, in this order. Raises NoRoomError.

        `counts` are those of the reactions in `payload`.

        A request is never split: where it does not fit into the open group, it begins the next one.
        """
        if self.is_full:
            raise NoRoomError
        self.requests_in_flight += 1
        self.bytes_in_flight += len(payload)
        closed = []
        if self._open is not None and self._open.size_bytes + len(payload) > self._max_group_bytes:
            closed.append(self._open)
            self._open = None
        if self._open is None:
            self._open = Group()
        group = self._open
        group.payloads.append(payload)
        group.waiters.append(waiter)
        for emoji, count in counts.items():
            group.counts[emoji] += count
        group.size_bytes += len(payload)
        if group.size_bytes >= self._max_group_bytes:
            closed.append(group)
            self._open = None
        return closed

    def close(self) -> Group[Waiter] | None:
        """Close the open group: its time is over."""
        group, self._open = self._open, None
        return group

    def resolve(self, group: Group[Waiter]) -> None:
        """The group's outcome is known: it is no longer in flight."""
        self.requests_in_flight -= len(group.waiters)
        self.bytes_in_flight -= group.size_bytes
