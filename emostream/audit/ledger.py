"""Compares the reactions in `reactions` with the counts in `swarms`. Pure: no input or output.

It shares with the aggregator only the rule about which records count. It adds them up independently.
"""

from collections import Counter, defaultdict, deque

from emostream.errors import EmoStreamError
from emostream.model import MAIN, SWARMS_TOPIC, Counts, Progress, Swarm, parse_message_id
from emostream.swarms.reactions import judged


def counts_of(record: bytes | None) -> Counts:
    """Return the count of each emoji in a record of `reactions`. A record that is not a list of reactions has none.

    An emoji of another event than `main` stands as `<event>/<emoji>`.
    """
    return Counter(_key(event, emoji) for _, emoji, event in judged(record))


def _key(event: str, emoji: str) -> str:
    return emoji if event == MAIN else f"{event}/{emoji}"


class Ledger:
    """Checks each swarm after `start` against the records of `reactions`. The totals of `start` are trusted.

    The caller bounds the memory: it stops reading while `waiting` is too large.
    """

    def __init__(self, start: Swarm) -> None:
        self._last = start
        self._read_up_to = offsets_of(start)
        self._records: defaultdict[int, deque[tuple[int, Counts]]] = defaultdict(deque)
        self._swarms: deque[Swarm] = deque()
        self.counted = sum(_totals(start).values())
        """The number of reactions that the swarms counted up to the last one that was checked."""
        self.accepted = self.counted
        """The number of reactions in `reactions` since the stream began, without those that were set aside."""
        self.lost: Counter[str] = Counter()
        """By emoji: reactions that a swarm should have counted but did not count."""
        self.doubled: Counter[str] = Counter()
        """By emoji: reactions that a swarm counted although they do not exist or were counted before."""

    @property
    def checked(self) -> Swarm:
        """The last swarm that was checked."""
        return self._last

    @property
    def waiting(self) -> int:
        """The number of records and swarms that are not compared yet."""
        return len(self._swarms) + sum(map(len, self._records.values()))

    def position(self, partition: int) -> int:
        """Return the offset from which to read this partition of `reactions` next."""
        return self._read_up_to.get(partition, 0)

    def write(self, partition: int, offset: int, counts: Counts) -> None:
        """Take the counts of the next record of a partition of `reactions`."""
        self.accepted += sum(counts.values())
        self._records[partition].append((offset, counts))

    def read(self, partition: int, up_to: int) -> None:
        """Note that a partition was read up to this offset.

        It may be past the last record, because the end of a transaction takes an offset without a record.
        """
        self._read_up_to[partition] = up_to
        self._settle()

    def count(self, swarm: Swarm) -> None:
        """Take the next record of `swarms`. Raises EmoStreamError if it belongs to another stream."""
        if _stream(swarm) != _stream(self._last):
            raise EmoStreamError(f"a new stream of swarms has begun with {swarm.id}: the audit must start again.")
        self._swarms.append(swarm)
        self._settle()

    def _settle(self) -> None:
        while self._swarms and self._is_read(self._swarms[0]):
            self._check(self._swarms.popleft())

    def _is_read(self, swarm: Swarm) -> bool:
        return all(self.position(partition) >= end for partition, end in offsets_of(swarm).items())

    def _check(self, swarm: Swarm) -> None:
        expected: Counter[str] = Counter()
        for partition, end in offsets_of(swarm).items():
            records = self._records[partition]
            while records and records[0][0] < end:
                expected.update(records.popleft()[1])
        # An event that the swarm before does not hold was archived: the aggregator sets reactions to it aside.
        for key in [key for key in expected if "/" in key and key.partition("/")[0] not in self._last.parts]:
            self.accepted -= expected.pop(key)
        # Compare with the growth of the totals, because viewers see the totals.
        grown = _totals(swarm)
        grown.subtract(_totals(self._last, of=swarm))
        self.counted += grown.total()
        self.lost += expected - grown
        self.doubled += grown - expected
        self._last = swarm


def offsets_of(swarm: Swarm) -> dict[int, int]:
    """Return the offset up to which each partition of `reactions` is counted with this swarm.

    Raises EmoStreamError if the swarm carries no progress.
    """
    if not isinstance(swarm.progress, Progress):
        raise EmoStreamError(f"swarm {swarm.id} has no progress: it is not a record of {SWARMS_TOPIC}")
    return {int(partition): offset for partition, offset in swarm.progress.offsets.items()}


def _totals(swarm: Swarm, of: Swarm | None = None) -> Counter[str]:
    """The totals of all events, or of those that `of` holds in the same opening."""
    found = Counter(swarm.totals)
    for event, part in swarm.parts.items():
        other = part if of is None else of.parts.get(event)
        if other is not None and other.stream == part.stream:
            found.update({_key(event, emoji): count for emoji, count in part.totals.items()})
    return found


def _stream(swarm: Swarm) -> str:
    position = parse_message_id(swarm.id)
    if position is None:
        raise EmoStreamError(f"{swarm.id!r} is not the id of a swarm")
    return position[0]
