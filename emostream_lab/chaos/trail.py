"""What was written to Kafka while things broke, checked record by record. Pure: time is passed in."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emostream.audit.ledger import Ledger, counts_of
from emostream.model import SWARMS_TOPIC, Swarm


@dataclass(frozen=True)
class Wrong:
    """Something that breaks the promise, and when it was read; `lost` and `doubled` are reactions."""

    at_seconds: float
    what: str
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        return f"{self.at_seconds:7.1f} s  {self.what}"


class Trail:
    """Takes the records of all topics, each topic in order, from the swarm `last` on.

    `swarms` must have every sequence once, with totals that grow by its counts, and count what `reactions` holds. A
    cluster's topic must be the same once its repeats are dropped.
    """

    def __init__(self, last: Swarm, clusters: Sequence[str], clock: Callable[[], float]) -> None:
        self._ledger = Ledger(last)
        self._newest = dict.fromkeys([SWARMS_TOPIC, *clusters], last)
        self._clock = clock
        self.wrongs: list[Wrong] = []
        self.dead_letters: Counter[bytes] = Counter()
        self.repeats = 0
        """Records that subscribers have to drop."""

    @property
    def came_to_ms(self) -> int:
        """The end of the newest window that has come to every topic."""
        return min(swarm.window.end for swarm in self._newest.values())

    @property
    def newest(self) -> Swarm:
        """The newest record of `swarms`."""
        return self._newest[SWARMS_TOPIC]

    def position(self, partition: int) -> int:
        """The offset of a partition from which `reactions` is to be read."""
        return self._ledger.position(partition)

    def read_reactions(self, partition: int, offset: int, value: bytes) -> None:
        """The next record of a partition of `reactions`."""
        self._ledger.write(partition, offset, counts_of(value))

    def read_up_to(self, partition: int, position: int) -> None:
        """A partition of `reactions` was read up to here."""
        self._ledger.read(partition, position)
        self._compare()

    def read_swarm(self, swarm: Swarm) -> None:
        """The next record of `swarms`."""
        self._check_follows(SWARMS_TOPIC, swarm)
        self._ledger.count(swarm)
        self._compare()

    def read_relayed(self, cluster: str, swarm: Swarm) -> None:
        """The next record of a cluster's topic."""
        if swarm.sequence <= self._newest[cluster].sequence:
            self.repeats += 1
        else:
            self._check_follows(cluster, swarm)

    def read_dead_letter(self, value: bytes) -> None:
        """The next record of `reactions.dead-letter`."""
        self.dead_letters[value] += 1

    def _check_follows(self, topic: str, swarm: Swarm) -> None:
        before, self._newest[topic] = self._newest[topic], swarm
        if swarm.sequence != before.sequence + 1:
            self._note(f"in {topic}, {swarm.id} follows {before.id}")
        elif Counter(swarm.totals) != Counter(before.totals) + Counter(swarm.counts):
            self._note(f"in {topic}, the totals of {swarm.id} are not those before it and its counts")
        elif swarm.window.start < before.window.end:
            self._note(f"in {topic}, the window of {swarm.id} begins before that of {before.id} ends")

    def _compare(self) -> None:
        """Note what the ledger has found since it was last asked."""
        lost, doubled = self._ledger.lost.total(), self._ledger.doubled.total()
        lost -= sum(wrong.lost for wrong in self.wrongs)
        doubled -= sum(wrong.doubled for wrong in self.wrongs)
        if lost or doubled:
            what = f"{self._ledger.checked.id} counts {lost} reactions too few and {doubled} too many"
            self.wrongs.append(Wrong(self._clock(), what, lost, doubled))

    def _note(self, what: str) -> None:
        self.wrongs.append(Wrong(self._clock(), what))
