"""What a simulated crowd sent, what was counted, and how long each reaction took to be seen. Pure: no clock, no I/O.

Three sources meet here: the answers of ingest (which record of `reactions` holds which reactions), the records of
`swarms` (which records each swarm covers, and its counts) and the viewers (when each saw which swarm).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from emostream.errors import EmoStreamError
from emostream.model import SWARMS_TOPIC, Counts, Progress, Swarm
from emostream.swarms.judging import reactions_in

# So long after its first sight a swarm's latencies are added up, so that the live figures are of whole swarms.
_SETTLE_MS = 3_000
# A sight later than this counts as this late, so that the details of a swarm are held for a minute only.
HORIZON_MS = 60_000
# Answers and sights that are later than so many swarms are not timed: it bounds what a long run holds.
_KEPT_SWARMS = 2_000


@dataclass
class _Times:
    """How many reactions of one swarm were posted, and how many viewers saw it, at each millisecond."""

    posted: Counter[int] = field(default_factory=Counter)
    seen: Counter[int] = field(default_factory=Counter)
    reactions: int = 0
    is_settled: bool = False
    is_let_go: bool = False


class Latencies:
    """The time from POST to sight of each reaction at each viewer, to the millisecond.

    All reactions of a swarm are seen together, so it stands for posted × seen values, which two short histograms hold.
    """

    def __init__(self) -> None:
        self._swarms: dict[int, _Times] = {}
        self._all: Counter[int] = Counter()
        self._newest: Counter[int] = Counter()

    def posted(self, sequence: int, at_ms: int, reactions: int) -> None:
        """So many reactions that this swarm covers were posted then."""
        times = self._swarms.setdefault(sequence, _Times())
        times.posted[at_ms] += reactions
        times.reactions += reactions
        if times.is_settled:
            self._all.update(_cross(Counter({at_ms: reactions}), times.seen))

    def seen(self, sequence: int, at_ms: int) -> None:
        """One viewer saw this swarm then."""
        times = self._swarms.setdefault(sequence, _Times())
        if times.is_let_go:
            self._all[HORIZON_MS] += times.reactions
            return
        times.seen[at_ms] += 1
        if times.is_settled:
            self._all.update(_cross(times.posted, Counter({at_ms: 1})))

    def settle(self, now_ms: int) -> None:
        """Add up the swarms that are old enough, and let go of the details of those past the horizon."""
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
        """Of all that is added up; None while that is nothing."""
        return _percentile(self._all, percent)

    def newest_percentile_ms(self, percent: float) -> int | None:
        """Of the swarm that was added up last."""
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
    """Reactions that one record of `reactions` holds for sure: its place, when they were posted, and what they are."""

    partition: int
    offset: int
    posted_ms: int
    counts: Counts


class Account:
    """Accepted against counted, by emoji, from the swarm `start` on, which is the last one before the crowd came."""

    def __init__(self, start: Swarm) -> None:
        self.accepted: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.latencies = Latencies()
        self.sequence = start.sequence
        self.swarms = 0
        self._start = offsets_of(start)
        # Of each swarm kept: its sequence, and the offsets up to which it covers each partition.
        self._sequences = [start.sequence]
        self._covered = [self._start]
        self._pending: list[Post] = []

    def accept(self, post: Post) -> None:
        """Ingest answered 202."""
        self.accepted.update(post.counts)
        self._pending.append(post)

    def not_known(self, counts: Counts) -> None:
        """Ingest did not answer, or with 504: these may be counted or not."""
        self.unknown.update(counts)

    def count(self, swarm: Swarm) -> None:
        """The next record of `swarms`."""
        self.counted.update(swarm.counts)
        self.sequence = swarm.sequence
        self.swarms += 1
        self._sequences.append(swarm.sequence)
        self._covered.append(offsets_of(swarm))
        del self._sequences[:-_KEPT_SWARMS], self._covered[:-_KEPT_SWARMS]

    def match(self) -> None:
        """Find the swarm of each accepted record. An answer may come before its swarm or after it."""
        still_pending = []
        for post in self._pending:
            index = bisect_right(self._covered, post.offset, key=lambda covered: covered.get(post.partition, 0))
            if index < len(self._covered):
                self.latencies.posted(self._sequences[index], post.posted_ms, sum(post.counts.values()))
            else:
                still_pending.append(post)
        self._pending = still_pending

    def is_settled(self) -> bool:
        """Whether all that was accepted is counted."""
        self.match()
        return not self._pending

    @property
    def in_flight(self) -> int:
        """Accepted reactions that no swarm covers yet, as of the last `match`."""
        return sum(sum(post.counts.values()) for post in self._pending)

    @property
    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """The offsets by partition between which the counted records are."""
        return self._start, self._covered[-1]

    def lost(self, others: Counter[str]) -> Counter[str]:
        """Reactions that must have been counted and were not; `others` are those that somebody else sent meanwhile."""
        return (self.accepted + others) - self.counted

    def doubled(self, others: Counter[str]) -> Counter[str]:
        """Reactions that were counted although nobody sent them."""
        return self.counted - (self.accepted + self.unknown + others)


def offsets_of(swarm: Swarm) -> dict[int, int]:
    """How far each partition of `reactions` is counted with this swarm."""
    if not isinstance(swarm.progress, Progress):
        raise EmoStreamError(f"swarm {swarm.id} carries no progress: it is no record of {SWARMS_TOPIC}")
    return {int(partition): offset for partition, offset in swarm.progress.offsets.items()}


def sent_by_others(records: Iterable[bytes], our_prefix: str) -> Counter[str]:
    """Emoji in records of `reactions` whose users are not ours. A record that is set aside is nobody's."""
    reactions = (reaction for record in records for reaction in reactions_in(record))
    return Counter(emoji for user_id, emoji in reactions if not user_id.startswith(our_prefix))
