"""Which subscriber a viewer is sent to: the least loaded one, counting those that are still on their way. Pure."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Member:
    """A subscriber. `pending` holds, the oldest first, the time at which each assignment stops counting as load."""

    capacity: int
    clients: int
    draining: bool
    pending: deque[float] = field(default_factory=deque)  # at most `capacity` long, as past that it is full
    version: int = 0

    @property
    def viewers(self) -> int:
        return self.clients + len(self.pending)

    @property
    def has_room(self) -> bool:
        return not self.draining and self.viewers < self.capacity


class Placement:
    """The load of every subscriber, in an order that makes an assignment O(log n).

    An assignment counts as load until its subscriber reports a viewer more, or `pending_seconds` are over. `draw` gives
    numbers uniform from 0 to 1, by which ties are broken. Times are seconds of any one clock that never goes back.
    """

    def __init__(self, pending_seconds: float, draw: Callable[[], float]) -> None:
        self._pending_seconds = pending_seconds
        self._draw = draw
        self._members: dict[str, _Member] = {}
        self._versions = itertools.count(1)
        # Load, a random number for ties, the subscriber and the version of it that was meant. Each change adds an entry
        # and leaves an outdated one behind; once these are the most of it the heap is made anew, so it stays bounded.
        self._order: list[tuple[float, float, str, int]] = []
        # When each assignment stops counting, in order of time: as many as are given in `pending_seconds`.
        self._deadlines: deque[tuple[float, str]] = deque()

    def report(self, name: str, *, capacity: int, clients: int, draining: bool) -> None:
        """What a subscriber says of itself, the first time or again.

        Where its clients have grown, they are taken to be the oldest assignments that were on their way.
        """
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = _Member(capacity, clients, draining)
        else:
            for _ in range(min(clients - member.clients, len(member.pending))):
                member.pending.popleft()
            member.capacity, member.clients, member.draining = capacity, clients, draining
        self._reorder(name, member)

    def remove(self, name: str) -> None:
        """The subscriber is gone, and what was on its way to it too. Harmless where it is not known."""
        self._members.pop(name, None)

    def pending(self, name: str, now: float) -> int:
        """Assignments to this subscriber that are still on their way."""
        self._expire(now)
        return len(self._members[name].pending)

    def assign(self, now: float, exclude: Collection[str] = ()) -> str | None:
        """The least loaded subscriber with room that is not excluded, and a viewer more on its way to it; else None."""
        self._expire(now)
        passed_over = []
        chosen = None
        while self._order and chosen is None:
            entry = heapq.heappop(self._order)
            name = entry[2]
            if self._is_current(entry):
                if name in exclude:
                    passed_over.append(entry)
                else:
                    chosen = name
        for entry in passed_over:
            heapq.heappush(self._order, entry)
        if chosen is None:
            return None
        member = self._members[chosen]
        member.pending.append(now + self._pending_seconds)
        self._deadlines.append((now + self._pending_seconds, chosen))
        self._reorder(chosen, member)
        return chosen

    def _expire(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, name = self._deadlines.popleft()
            member = self._members.get(name)
            # It may have been explained by a report, or have gone with its subscriber.
            if member is not None and member.pending and member.pending[0] <= now:
                member.pending.popleft()
                self._reorder(name, member)

    def _reorder(self, name: str, member: _Member) -> None:
        member.version = next(self._versions)
        if member.has_room:
            heapq.heappush(self._order, self._entry(name, member))
        if len(self._order) > 2 * len(self._members) + 16:
            self._order = [self._entry(name, member) for name, member in self._members.items() if member.has_room]
            heapq.heapify(self._order)

    def _entry(self, name: str, member: _Member) -> tuple[float, float, str, int]:
        return member.viewers / member.capacity, self._draw(), name, member.version

    def _is_current(self, entry: tuple[float, float, str, int]) -> bool:
        member = self._members.get(entry[2])
        return member is not None and member.version == entry[3]
