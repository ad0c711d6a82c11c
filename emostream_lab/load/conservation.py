"""Checks that no reaction was lost or doubled: compares what was sent and seen with what was counted.

Two rules must hold:

- For each emoji, the count is at least the number of accepted reactions (answered with 202), and at most that number
  plus the number of reactions with an unknown outcome.
- Each viewer sees every swarm from its first to its last exactly once.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from emostream.model import Counts


class Sent(msgspec.Struct):
    """Reactions by emoji and outcome.

    The outcome is `unknown` if no answer came. The pipeline may or may not count such a reaction.
    """

    accepted: Counts
    unknown: Counts
    refused: Counts


class Seen(msgspec.Struct):
    """What the viewers of one worker saw, added up.

    - `expected`: swarms from each viewer's first to its last, computed from the sequence numbers alone.
    - `deliveries`: swarms that arrived.
    - `gaps`: messages that left out sequence numbers.
    - `repeats`: messages that had come before.
    - `unequal`: messages that differ from what another viewer got with the same sequence number.
    - `resets`: messages in which the server says that it skipped swarms.
    - `behind`: viewers that were connected at the end and had not got the last swarm.
    """

    viewers: int = 0
    deliveries: int = 0
    expected: int = 0
    gaps: int = 0
    repeats: int = 0
    unequal: int = 0
    resets: int = 0
    behind: int = 0


class Report(msgspec.Struct, kw_only=True):
    """What one worker reports at the end of a run.

    `sequence` is the last swarm that it knows of. `unseen` is the number of accepted reactions that are in no swarm
    that its viewers saw. `failures` is the number of failed requests and streams. `clock` describes the difference to
    the aggregator's clock.
    """

    worker: str
    sequence: int
    sent: Sent
    seen: Seen
    unseen: int = 0
    failures: int = 0
    clock: str = ""


class Count(msgspec.Struct):
    """What the pipeline counted during the run, in two ways: the growth of the totals, and the sum of the swarms."""

    by_totals: Counts
    by_swarms: Counts


class Verdict(msgspec.Struct):
    """The result of a run, which is good if there are no problems. `line` states the result in one line."""

    line: str
    problems: list[str]

    @property
    def is_good(self) -> bool:
        return not self.problems


def judge(reports: list[Report], count: Count, lost_workers: Iterable[str] = ()) -> Verdict:
    """Judge a whole run. `lost_workers` are the workers that sent no report."""
    sent = _sum_sent(reports)
    seen = _sum_seen(reports)
    lost = Counter(sent.accepted) - Counter(count.by_totals)
    doubled = Counter(count.by_totals) - Counter(sent.accepted) - Counter(sent.unknown)
    problems = [
        *(f"worker {worker} was lost, and what it sent and saw with it: the run is invalid" for worker in lost_workers),
        *([] if sent.accepted else ["no reaction was accepted, so the run shows nothing"]),
        *_of_emoji("lost: accepted and never counted", lost),
        *_of_emoji("counted although nobody of this run sent them", doubled),
        *_of_emoji("in the totals and in no swarm, or the other way", _difference(count.by_totals, count.by_swarms)),
        *_of_viewers(seen),
        *_when(sum(report.unseen for report in reports), "accepted reactions were never seen by a viewer"),
        *_when(sum(report.failures for report in reports), "requests or streams failed"),
    ]
    line = (
        f"conservation {'FAILED' if problems else 'holds'}: accepted {sum(sent.accepted.values()):,}, "
        f"counted {sum(count.by_totals.values()):,}, lost {lost.total():,}, doubled {doubled.total():,}, "
        f"unknown {sum(sent.unknown.values()):,}; {seen.viewers:,} viewers saw {seen.deliveries:,} "
        f"of {seen.expected:,} swarms, {seen.gaps:,} gaps, {seen.repeats:,} repeats"
    )
    return Verdict(line, problems)


def _of_emoji(what: str, counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    examples = ", ".join(f"{emoji} {number:,}" for emoji, number in counts.most_common(5))
    return [f"{counts.total():,} reactions were {what}: {examples}"]


def _of_viewers(seen: Seen) -> list[str]:
    return [
        *_when(seen.gaps, "swarms came after one that never came"),
        *_when(seen.repeats, "swarms came a second time"),
        *_when(seen.unequal, "swarms were not the same for all viewers"),
        *_when(seen.resets, "times a viewer was told that it had missed swarms"),
        *_when(seen.behind, "viewers were connected to the end and did not get the last swarm"),
        *(
            [f"viewers got {seen.deliveries:,} swarms, and {seen.expected:,} lie between their first and their last"]
            if seen.deliveries != seen.expected
            else []
        ),
    ]


def _when(number: int, what: str) -> list[str]:
    return [f"{number:,} {what}"] if number else []


def _difference(one: Counts, other: Counts) -> Counter[str]:
    return (Counter(one) - Counter(other)) + (Counter(other) - Counter(one))


def _sum_sent(reports: list[Report]) -> Sent:
    return Sent(*(_sum_counts(getattr(report.sent, field) for report in reports) for field in Sent.__struct_fields__))


def _sum_counts(many: Iterable[Counts]) -> Counts:
    total: Counter[str] = Counter()
    for counts in many:
        total.update(counts)
    return dict(total)


def _sum_seen(reports: list[Report]) -> Seen:
    return Seen(*(sum(getattr(report.seen, field) for report in reports) for field in Seen.__struct_fields__))
