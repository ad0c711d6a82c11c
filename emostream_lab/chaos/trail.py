"""Checks every record that is written to Kafka during a chaos run. Pure: time is passed in."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emostream.audit.ledger import Ledger, counts_of
from emostream.model import SWARMS_TOPIC, EventPart, Swarm


@dataclass(frozen=True)
class Wrong:
    """An error in the records, and the time when it was read. `lost` and `doubled` count reactions."""

    at_seconds: float
    what: str
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        return f"{self.at_seconds:7.1f} s  {self.what}"


class Trail:
    """Checks the records of all topics after the swarm `last`. The records of each topic must be passed in order.

    `swarms` must have every sequence number once. The totals of a swarm must be the totals before it plus its counts,
    and the counts must match the records of `reactions`. The same holds for each event. Without repeated records, the
    topic of a cluster must equal `swarms`.
    """

    def __init__(self, last: Swarm, clusters: Sequence[str], clock: Callable[[], float]) -> None:
        self._ledger = Ledger(last)
        self._newest = dict.fromkeys([SWARMS_TOPIC, *clusters], last)
        self._clock = clock
        self.wrongs: list[Wrong] = []
        self.dead_letters: Counter[bytes] = Counter()
        self.repeats = 0
        """The number of repeated records in the topics of the clusters. Subscribers drop these."""

    @property
    def came_to_ms(self) -> int:
        """The end of the newest window that every topic has, in ms since the epoch."""
        return min(swarm.window.end for swarm in self._newest.values())

    @property
    def newest(self) -> Swarm:
        """The newest record of `swarms`."""
        return self._newest[SWARMS_TOPIC]

    def position(self, partition: int) -> int:
        """Return the offset at which to start reading a partition of `reactions`."""
        return self._ledger.position(partition)

    def read_reactions(self, partition: int, offset: int, value: bytes) -> None:
        """Take the next record of a partition of `reactions`."""
        self._ledger.write(partition, offset, counts_of(value))

    def read_up_to(self, partition: int, position: int) -> None:
        """Note that a partition of `reactions` was read up to `position`."""
        self._ledger.read(partition, position)
        self._compare()

    def read_swarm(self, swarm: Swarm) -> None:
        """Take the next record of `swarms`."""
        self._check_follows(SWARMS_TOPIC, swarm)
        self._ledger.count(swarm)
        self._compare()

    def read_relayed(self, cluster: str, swarm: Swarm) -> None:
        """Take the next record of the topic of a cluster."""
        if swarm.sequence <= self._newest[cluster].sequence:
            self.repeats += 1
        else:
            self._check_follows(cluster, swarm)

    def read_dead_letter(self, value: bytes) -> None:
        """Take the next record of `reactions.dead-letter`."""
        self.dead_letters[value] += 1

    def _check_follows(self, topic: str, swarm: Swarm) -> None:
        before, self._newest[topic] = self._newest[topic], swarm
        if swarm.sequence != before.sequence + 1:
            self._note(f"in {topic}, {swarm.id} follows {before.id}")
        elif Counter(swarm.totals) != Counter(before.totals) + Counter(swarm.counts):
            self._note(f"in {topic}, the totals of {swarm.id} are not those before it and its counts")
        elif swarm.window.start < before.window.end:
            self._note(f"in {topic}, the window of {swarm.id} begins before that of {before.id} ends")
        for event in before.parts.keys() | swarm.parts.keys():
            if not _follows(before.parts.get(event), swarm.parts.get(event)):
                self._note(f"in {topic}, {event} of {swarm.id} does not follow {event} of {before.id}")

    def _compare(self) -> None:
        """Note the reactions that the ledger has found lost or doubled since the last call."""
        lost, doubled = self._ledger.lost.total(), self._ledger.doubled.total()
        lost -= sum(wrong.lost for wrong in self.wrongs)
        doubled -= sum(wrong.doubled for wrong in self.wrongs)
        if lost or doubled:
            what = f"{self._ledger.checked.id} counts {lost} reactions too few and {doubled} too many"
            self.wrongs.append(Wrong(self._clock(), what, lost, doubled))

    def _note(self, what: str) -> None:
        self.wrongs.append(Wrong(self._clock(), what))


def _follows(before: EventPart | None, part: EventPart | None) -> bool:
    """Return whether an event may go on so from one record to the next. No event is archived during a run."""
    if part is None:
        return False
    if before is None or before.stream != part.stream:
        return (part.sequence, part.totals, part.counts, part.ended) == (0, {}, {}, False)
    has_swarm = bool(part.counts)
    # What comes after the end is one more swarm, and one more end.
    has_end = part.ended and (has_swarm or not before.ended)
    return (
        part.sequence == before.sequence + has_swarm + has_end
        and Counter(part.totals) == Counter(before.totals) + Counter(part.counts)
        and part.ended >= before.ended
    )
