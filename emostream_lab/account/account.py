"""Accounts for the reactions of a simulated crowd, and for the time until viewers see them. Pure: no clock, no I/O.

The account combines three sources. The answers of ingest say which record of `reactions` holds which reactions. The
records of `swarms` say which records each swarm covers, with its counts. The viewers say when they saw each swarm.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from emostream.errors import EmoStreamError
from emostream.model import SWARMS_TOPIC, Counts, Progress, Swarm
from emostream.swarms.reactions import reactions_in

# The latencies of a swarm are added up this long after a viewer first saw it, so live figures cover whole swarms.
_SETTLE_MS = 3_000
# A longer latency counts as this one, so the details of a swarm are kept for one minute only.
HORIZON_MS = 60_000
# The number of swarms that are kept, which bounds memory in a long run. Later answers and arrivals are not timed.
_KEPT_SWARMS = 2_000


@dataclass
class _Times:
    """The reactions of one swarm that were posted, and the viewers that saw it, by millisecond."""

    posted: Counter[int] = field(default_factory=Counter)
    seen: Counter[int] = field(default_factory=Counter)
    reactions: int = 0
    is_settled: bool = False
    is_let_go: bool = False


class Latencies:
    """The end-to-end latency of each reaction at each viewer, from its POST to its arrival, in milliseconds.

    A viewer sees all reactions of a swarm at once. So two short histograms per swarm, of the times posted and of the
    times seen, describe all posted × seen values.
    """

    def __init__(self) -> None:
        self._swarms: dict[int, _Times] = {}
        self._all: Counter[int] = Counter()
        self._newest: Counter[int] = Counter()

    def posted(self, sequence: int, at_ms: int, reactions: int) -> None:
        """Note that `reactions` reactions of this swarm were posted at `at_ms`."""
        times = self._swarms.setdefault(sequence, _Times())
        times.posted[at_ms] += reactions
        times.reactions += reactions
        if times.is_settled:
            self._all.update(_cross(Counter({at_ms: reactions}), times.seen))

    def seen(self, sequence: int, at_ms: int) -> None:
        """Note that one viewer saw this swarm at `at_ms`."""
        times = self._swarms.setdefault(sequence, _Times())
        if times.is_let_go:
            self._all[HORIZON_MS] += times.reactions
            return
        times.seen[at_ms] += 1
        if times.is_settled:
            self._all.update(_cross(times.posted, Counter({at_ms: 1})))

    def settle(self, now_ms: int) -> None:
        """Add up the latencies of swarms that are old enough, and drop the details of those past the horizon."""
        for times in self._swarms.values():
            age_ms = now_ms - min(times.seen, default=now_ms)
            if not times.is_settled and age_ms >= _SETTLE_MS:
                times.is_settled = True
                self._newest = _cross(times.posted, times.seen)
                self._all.update(self._newest)
            if age_ms >= HORIZON_MS:
                times.is_let_go = True
                times.posted.clear()
                times.seen.clear()
        while len(self._swarms) > _KEPT_SWARMS:
            del self._swarms[min(self._swarms)]

    def percentile_ms(self, percent: float) -> int | None:
        """Return a percentile of all latencies added up so far, or None if there are none."""
        return _percentile(self._all, percent)

    def newest_percentile_ms(self, percent: float) -> int | None:
        """Return a percentile of the swarm that was added up last, or None if there is none."""
        return _percentile(self._newest, percent)


def _cross(posted: Counter[int], seen: Counter[int]) -> Counter[int]:
    latencies: Counter[int] = Counter()
    for seen_ms, viewers in seen.items():
        for posted_ms, reactions in posted.items():
            latencies[min(seen_ms - posted_ms, HORIZON_MS)] += viewers * reactions
    return latencies


def _percentile(histogram: Counter[int], percent: float) -> int | None:
    rank = histogram.total() * percent / 100
    reached = 0
    for value in sorted(histogram):
        reached += histogram[value]
        if reached >= rank:
            return value
    return None


@dataclass(frozen=True)
class Post:
    """The reactions of one acknowledged record of `reactions`: its place, the time of the POST, and counts by emoji."""

    partition: int
    offset: int
    posted_ms: int
    counts: Counts


class Account:
    """Compares accepted with counted reactions, by emoji. `start` is the last swarm before the crowd began to send."""

    def __init__(self, start: Swarm) -> None:
        self.accepted: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.latencies = Latencies()
        self.sequence = start.sequence
        self.swarms = 0
        self._start = offsets_of(start)
        # For each kept swarm: its sequence number, and the offset up to which it covers each partition.
        self._sequences = [start.sequence]
        self._covered = [self._start]
        self._pending: list[Post] = []

    def accept(self, post: Post) -> None:
        """Note reactions that ingest accepted, with status 202."""
        self.accepted.update(post.counts)
        self._pending.append(post)

    def not_known(self, counts: Counts) -> None:
        """Note reactions for which ingest gave no answer, or 504. They may be counted or not."""
        self.unknown.update(counts)

    def count(self, swarm: Swarm) -> None:
        """Take the next record of `swarms`."""
        self.counted.update(swarm.counts)
        self.sequence = swarm.sequence
        self.swarms += 1
        self._sequences.append(swarm.sequence)
        self._covered.append(offsets_of(swarm))
        del self._sequences[:-_KEPT_SWARMS], self._covered[:-_KEPT_SWARMS]

    def match(self) -> None:
        """Find the swarm of each accepted record. The answer of ingest may come before or after the swarm."""
        still_pending = []
        for post in self._pending:
            index = bisect_right(self._covered, post.offset, key=lambda covered: covered.get(post.partition, 0))
            if index < len(self._covered):
                self.latencies.posted(self._sequences[index], post.posted_ms, sum(post.counts.values()))
            else:
                still_pending.append(post)
        self._pending = still_pending

    def is_settled(self) -> bool:
        """Return whether all accepted reactions are counted."""
        self.match()
        return not self._pending

    @property
    def in_flight(self) -> int:
        """The number of accepted reactions that no swarm covered at the last `match`."""
        return sum(sum(post.counts.values()) for post in self._pending)

    @property
    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """The start and end offsets of the counted records, by partition."""
        return self._start, self._covered[-1]

    def lost(self, others: Counter[str]) -> Counter[str]:
        """Return the reactions that should be counted but are not. `others` are those of other clients."""
        return (self.accepted + others) - self.counted

    def doubled(self, others: Counter[str]) -> Counter[str]:
        """Return the reactions that are counted but were never sent."""
        return self.counted - (self.accepted + self.unknown + others)


def offsets_of(swarm: Swarm) -> dict[int, int]:
    """Return the offset up to which each partition of `reactions` is counted with this swarm.

    Raises EmoStreamError if the swarm carries no progress.
    """
    if not isinstance(swarm.progress, Progress):
        raise EmoStreamError(f"swarm {swarm.id} carries no progress: it is no record of {SWARMS_TOPIC}")
    return {int(partition): offset for partition, offset in swarm.progress.offsets.items()}


def sent_by_others(records: Iterable[bytes], our_prefix: str) -> Counter[str]:
    """Count the emoji of users without our prefix in records of `reactions`. Invalid records do not count."""
    reactions = (reaction for record in records for reaction in reactions_in(record))
    return Counter(emoji for user_id, emoji in reactions if not user_id.startswith(our_prefix))
