"""The parts of the account as they are made: what a process sent and saw, and what the log counted. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emostream.audit.ledger import offsets_of
from emostream.client.outcome import Accepted, Outcome, Refused, Unknown
from emostream.client.watcher import Watcher
from emostream.model import MAIN, Counts, EventPart, Reaction, Swarm
from emostream.swarms.rules import stream_of
from emostream_lab.account.account import Account, RunAccount
from emostream_lab.account.end_to_end import EndToEndLatencies

# A viewer can lag this many swarms behind another one and still be compared with it.
_SWARMS_COMPARED = 1_000


@dataclass
class Spectator:
    """What the account needs of a viewer. One that is awaited and not slow should have every swarm."""

    watcher: Watcher
    is_connected: bool = True
    is_slow: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether the viewer gets what comes now. One that has seen the end of its event leaves."""
        return self.is_connected and not self.watcher.has_ended


class Tally:
    """The part of an event's account that one process makes. It is used from one thread only. Times are in seconds."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.end_to_end = EndToEndLatencies()
        self.spectators: list[Spectator] = []
        self._unequal = 0
        # For each sequence number, what the first viewer that got the swarm got, and when.
        self._first: dict[int, tuple[Counts, float]] = {}

    def sent(self, reactions: Sequence[Reaction], outcome: Outcome, due_seconds: float) -> None:
        """Note the outcome of a request that was due at this time."""
        counts = Counter(reaction.emoji_type for reaction in reactions)
        match outcome:
            case Accepted(_, record):
                self.accepted.update(counts)
                self.end_to_end.accepted(record.partition, record.offset, due_seconds, len(reactions))
            case Refused():
                self.refused.update(counts)
            case Unknown():
                self.unknown.update(counts)

    def seen(self, swarm: Swarm, came_seconds: float, opened_seconds: float = float("-inf")) -> bool:
        """Note that a viewer got a swarm. Returns whether it got the swarm live.

        `opened_seconds` is when the viewer connected. The server replays swarms that other viewers saw before that
        time. A replay says nothing about how long a swarm takes.
        """
        counts, first_seconds = self._first.setdefault(swarm.sequence, (swarm.counts, came_seconds))
        while len(self._first) > _SWARMS_COMPARED:
            del self._first[next(iter(self._first))]
        if counts != swarm.counts:
            self._unequal += 1
        if first_seconds < opened_seconds:
            return False
        self.end_to_end.seen(swarm.sequence, came_seconds)
        return True

    def behind(self, sequence: int) -> int:
        """Return how many viewers should have the swarm of this sequence number, and do not."""
        return sum(
            each.is_awaited and not each.is_slow and each.watcher.sequence < sequence for each in self.spectators
        )

    def unseen(self, sequence: int) -> int:
        """Return how many swarms up to this sequence number are still on their way, added up over the viewers."""
        return sum(max(0, sequence - each.watcher.sequence) for each in self.spectators if each.is_awaited)

    def account(self, sequence: int) -> Account:
        """Return the account of this process. `sequence` is the last message that its viewers should have got."""
        watchers = [each.watcher for each in self.spectators if each.watcher.stream is not None]
        # A viewer that does not read is meant to miss swarms, because its buffer is bounded.
        readers = [each.watcher for each in self.spectators if not each.is_slow]
        return Account(
            accepted=dict(self.accepted),
            unknown=dict(self.unknown),
            refused=dict(self.refused),
            in_flight=self.end_to_end.waiting,
            viewers=len(watchers),
            expected=sum(watcher.expected for watcher in watchers),
            delivered=sum(watcher.swarms for watcher in watchers),
            skipped=sum(watcher.lost for watcher in readers),
            gaps=sum(watcher.gaps for watcher in watchers),
            repeats=sum(watcher.repeats for watcher in watchers),
            unequal=self._unequal + sum(watcher.mismatches for watcher in watchers),
            resets=sum(watcher.resets for watcher in readers),
            behind=self.behind(sequence),
        )


class LogTally:
    """The part of the account that the log of swarms makes. `start` is the last swarm before the run."""

    def __init__(self, start: Swarm, events: Iterable[str] = (MAIN,)) -> None:
        self.newest = start
        self._start = start
        self._counted = {event: _Counted(event, start) for event in events}

    def take(self, swarm: Swarm) -> None:
        """Take the next record of `swarms`."""
        self.newest = swarm
        for counted in self._counted.values():
            counted.take(swarm)

    def sequence(self, event: str) -> int:
        """Return the sequence number of the last message to the event's viewers, or -1 if there was none."""
        last = self._counted[event].last
        return -1 if last is None else last.sequence

    def is_open(self, event: str) -> bool:
        """Return whether the event has begun and not ended, as of the last record."""
        part = part_of(self.newest, event)
        return part is not None and not part.ended

    def swarms(self, event: str) -> int:
        """Return how many swarms the event's viewers got since the start."""
        return self._counted[event].swarms

    @property
    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """The start and end offsets of the counted records of `reactions`, by partition."""
        return offsets_of(self._start), offsets_of(self.newest)

    def account(self, others: Mapping[str, Counts]) -> RunAccount:
        """Return what was counted. `others` are the reactions of clients outside of the run that are among it."""
        return RunAccount({event: counted.account(others.get(event, {})) for event, counted in self._counted.items()})


class _Counted:
    """What the log counted of one event. `last` is the event's part of the last record; None if it is in no record."""

    def __init__(self, event: str, start: Swarm) -> None:
        self.last = part_of(start, event)
        self.swarms = 0
        self._event = event
        self._by_totals: Counter[str] = Counter()
        self._by_swarms: Counter[str] = Counter()

    def take(self, swarm: Swarm) -> None:
        part = part_of(swarm, self._event)
        if part is None:
            return
        self._by_totals.update(part.totals)
        # An event that is opened again begins without totals, in a new stream.
        if self.last is not None and self.last.stream == part.stream:
            self._by_totals.subtract(self.last.totals)
        self._by_swarms.update(part.counts)
        self.swarms += sequence_in(swarm, self._event) is not None
        self.last = part

    def account(self, others: Counts) -> Account:
        return Account(others=dict(others), by_totals=dict(+self._by_totals), by_swarms=dict(self._by_swarms))


def part_of(swarm: Swarm, event: str) -> EventPart | None:
    """Return what a record of `swarms` says of an event, also of `main`. None if it does not hold the event."""
    if event != MAIN:
        return swarm.parts.get(event)
    return EventPart(stream_of(swarm), swarm.sequence, swarm.totals, swarm.counts, swarm.swarm)


def sequence_in(swarm: Swarm, event: str) -> int | None:
    """Return the sequence number of the swarm that an event's viewers get of a record. None if they get none."""
    if event == MAIN:
        # Also if it counts nothing.
        return swarm.sequence
    messages = swarm.parts[event].messages(swarm.window) if event in swarm.parts else []
    return next((message.sequence for message in messages if isinstance(message, Swarm)), None)
