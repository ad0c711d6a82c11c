"""Assigns each viewer to the least loaded subscriber. Pure: no input or output.

The load of a subscriber includes viewers that were assigned to it but have not connected yet.
"""

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Member:
    """A subscriber and its load.

    The first `settled` of its `assigned` viewers are no longer pending: they connected, or their time is over.
    """

    name: str
    capacity: int
    clients: int
    assigned: int = 0
    settled: int = 0
    is_gone: bool = False
    # The level of this load, and the index in it. A subscriber without room is in no level.
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
        return not self.is_gone and self.clients + self.pending < self.capacity


class _Level:
    """The subscribers with the same load. They are unordered, so adding and removing one takes constant time."""

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
    """The load of every subscriber. An assignment is as fast among 10,000 subscribers as among ten.

    An assignment is pending, and counts as load, until its subscriber reports one more viewer or `pending_seconds` are
    over. `draw` returns uniform random numbers from 0 up to 1; they choose among subscribers of the same load. Times
    are seconds of a monotonic clock.
    """

    def __init__(self, pending_seconds: float, draw: Callable[[], float]) -> None:
        self._pending_seconds = pending_seconds
        self._draw = draw
        self._members: dict[str, _Member] = {}
        # The subscribers with room, by load. There are far fewer loads than subscribers, so only the loads are sorted.
        self._levels: dict[float, _Level] = {}
        # A heap of all loads that have a level. It also holds loads whose level is gone. When those are the majority,
        # the heap is rebuilt, so its size is bounded.
        self._loads: list[float] = []
        # The deadline of each pending assignment, in order of time. Its length is bounded by the assignments within
        # `pending_seconds`. The number counts the assignments to one subscriber, from 1.
        self._deadlines: deque[tuple[float, _Member, int]] = deque()

    def report(self, name: str, *, capacity: int, clients: int) -> None:
        """Add a subscriber or update its state.

        If it has more clients than before, the same number of its oldest pending assignments counts as connected.
        """
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = _Member(name, capacity, clients)
        else:
            member.settled += max(0, min(clients - member.clients, member.pending))
            member.capacity, member.clients = capacity, clients
        self._reorder(member)

    def remove(self, name: str) -> None:
        """Remove a subscriber and its pending assignments. An unknown name is ignored."""
        member = self._members.pop(name, None)
        if member is not None:
            member.is_gone = True
            self._reorder(member)

    def pending(self, name: str, now: float) -> int:
        """Return the number of pending assignments to this subscriber."""
        self._expire(now)
        return self._members[name].pending

    def assign(self, now: float, exclude: Collection[str] = ()) -> str | None:
        """Assign one viewer. Returns the name of the least loaded subscriber that has room and is not in `exclude`.

        The assignment is pending from then on. Returns None if no subscriber is left.
        """
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
            # A report may have settled the assignment already.
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
