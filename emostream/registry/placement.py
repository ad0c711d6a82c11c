"""Which subscriber a viewer is sent to: the least loaded one, counting those that are still on their way. Pure."""

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Member:
    """A subscriber. Of its assignments the first `settled` count no more: reported as clients, or too old."""

    name: str
    capacity: int
    clients: int
    draining: bool
    assigned: int = 0
    settled: int = 0
    # Where it stands among those of the same load; in no level while it takes nobody.
    level: "_Level | None" = None
    slot: int = 0

    @property
    def pending(self) -> int:
        return self.assigned - self.settled

    @property
    def load(self) -> float:
        return (self.clients + self.pending) / self.capacity

    @property
    def has_room(self) -> bool:
        return not self.draining and self.clients + self.pending < self.capacity


class _Level:
    """The subscribers of one load, in no order, so that any of them is found, added and taken out in no time."""

    __slots__ = ("load", "members")

    def __init__(self, load: float) -> None:
        self.load = load
        self.members: list[_Member] = []

    def add(self, member: _Member) -> None:
        member.level, member.slot = self, len(self.members)
        self.members.append(member)

    def take_out(self, member: _Member) -> None:
        last = self.members.pop()
        if last is not member:
            self.members[member.slot] = last
            last.slot = member.slot
        member.level = None


class Placement:
    """The load of every subscriber, in an order that makes an assignment as quick among 10,000 of them as among ten.

    An assignment counts as load until its subscriber reports a viewer more, or `pending_seconds` are over. `draw` gives
    numbers uniform from 0 up to 1, by which ties are broken. Times are seconds of any one clock that never goes back.
    """

    def __init__(self, pending_seconds: float, draw: Callable[[], float]) -> None:
        self._pending_seconds = pending_seconds
        self._draw = draw
        self._members: dict[str, _Member] = {}
        # Those with room, by load. There are many subscribers but few loads, so order is kept among the loads alone.
        self._levels: dict[float, _Level] = {}
        # A heap of all loads that have a level, and of some that have none any more. Once these are the most of it the
        # heap is made anew, so it stays bounded.
        self._loads: list[float] = []
        # When each assignment stops counting, in order of time: as many as are given in `pending_seconds`. The number
        # is the assignment's among those to its subscriber, from 1.
        self._deadlines: deque[tuple[float, _Member, int]] = deque()

    def report(self, name: str, *, capacity: int, clients: int, draining: bool) -> None:
        """What a subscriber says of itself, the first time or again.

        Where its clients have grown, they are taken to be the oldest assignments that were on their way.
        """
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = _Member(name, capacity, clients, draining)
        else:
            member.settled += max(0, min(clients - member.clients, member.pending))
            member.capacity, member.clients, member.draining = capacity, clients, draining
        self._reorder(member)

    def remove(self, name: str) -> None:
        """The subscriber is gone, and what was on its way to it too. Harmless where it is not known."""
        member = self._members.pop(name, None)
        if member is not None:
            member.draining = True
            self._reorder(member)

    def pending(self, name: str, now: float) -> int:
        """Assignments to this subscriber that are still on their way."""
        self._expire(now)
        return self._members[name].pending

    def assign(self, now: float, exclude: Collection[str] = ()) -> str | None:
        """The least loaded subscriber with room that is not excluded, and a viewer more on its way to it; else None."""
        self._expire(now)
        chosen = self._least_loaded(exclude)
        if chosen is None:
            return None
        chosen.assigned += 1
        self._deadlines.append((now + self._pending_seconds, chosen, chosen.assigned))
        self._reorder(chosen)
        return chosen.name

    def _least_loaded(self, exclude: Collection[str]) -> _Member | None:
        passed_over = []
        chosen = None
        while self._loads and chosen is None:
            level = self._levels.get(self._loads[0])
            if level is not None:
                chosen = self._any_of(level.members, exclude)
            if chosen is None:
                load = heapq.heappop(self._loads)
                if level is not None:
                    passed_over.append(load)
        for load in passed_over:
            heapq.heappush(self._loads, load)
        return chosen

    def _any_of(self, members: list[_Member], exclude: Collection[str]) -> _Member | None:
        start = int(self._draw() * len(members))
        for number in range(start, start + len(members)):
            member = members[number % len(members)]
            if member.name not in exclude:
                return member
        return None

    def _expire(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, member, number = self._deadlines.popleft()
            # It may have been settled by a report.
            if number > member.settled:
                member.settled = number
                self._reorder(member)

    def _reorder(self, member: _Member) -> None:
        level = member.level
        if level is not None:
            level.take_out(member)
            if not level.members:
                del self._levels[level.load]
        if member.has_room:
            self._level(member.load).add(member)

    def _level(self, load: float) -> _Level:
        level = self._levels.get(load)
        if level is None:
            level = self._levels[load] = _Level(load)
            heapq.heappush(self._loads, load)
            if len(self._loads) > 2 * len(self._levels) + 16:
                self._loads = sorted(self._levels)
        return level
