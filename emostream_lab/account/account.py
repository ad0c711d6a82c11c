"""The account of a run: whether every reaction was counted once, and seen by every viewer once. Pure.

Each process of a run knows a part of it: what it sent, what its viewers saw, or what the log counted. The parts of a
run add up to its account. Two rules must hold, in each event by itself:

- For each emoji, the count is at least the number of accepted reactions, and at most that number plus the number of
  reactions with an unknown outcome.
- Each viewer sees every swarm from its first to the last of the run exactly once, with the same content as the others.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from emostream.model import Counts


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one process knows of one event, or all that is known of it: `one + other` adds up each field.

    Reactions, by emoji:

    - `accepted`, `unknown`, `refused`: those that were sent, by their outcome. The pipeline may or may not count those
      with an unknown outcome.
    - `others`: those that clients outside of the run sent.
    - `by_totals`, `by_swarms`: those that were counted, as the growth of the totals and as the sum of the swarms.

    Reactions, in all:

    - `in_flight`: accepted ones that are in no swarm that this process knows of.

    Of the viewers, added up:

    - `expected`: swarms from each viewer's first to its last, by the sequence numbers alone.
    - `delivered`: swarms that arrived.
    - `skipped`: swarms that a viewer did not get, because the server made it begin again after them.
    - `gaps`: messages that left out sequence numbers. The viewer dropped them, and resumed.
    - `repeats`: messages that had come before.
    - `unequal`: messages that do not fit the totals before, or differ from what another viewer got.
    - `resets`: messages in which the server says that it skipped swarms.
    - `behind`: viewers that lack the last message.
    """

    accepted: Counts = {}
    unknown: Counts = {}
    refused: Counts = {}
    others: Counts = {}
    by_totals: Counts = {}
    by_swarms: Counts = {}
    in_flight: int = 0
    viewers: int = 0
    expected: int = 0
    delivered: int = 0
    skipped: int = 0
    gaps: int = 0
    repeats: int = 0
    unequal: int = 0
    resets: int = 0
    behind: int = 0

    def __add__(self, other: "Account") -> "Account":
        fields = self.__struct_fields__
        return Account(**{field: _sum(getattr(self, field), getattr(other, field)) for field in fields})

    @property
    def lost(self) -> Counter[str]:
        """The reactions that should be counted but are not, by emoji."""
        return Counter(self.accepted) + Counter(self.others) - Counter(self.by_totals)

    @property
    def doubled(self) -> Counter[str]:
        """The reactions that are counted but were never sent, by emoji."""
        sent = Counter(self.accepted) + Counter(self.unknown) + Counter(self.others)
        return Counter(self.by_totals) - sent

    def problems(self, *, under_faults: bool = False) -> list[str]:
        """Return what is wrong, a sentence for each kind. Empty if all is exact.

        Faults on purpose break requests and streams. A viewer then resumes, or is made to begin again. Under such
        faults, this is wrong only where swarms were skipped.
        """
        calm = not under_faults
        one, other = Counter(self.by_totals), Counter(self.by_swarms)
        return [
            *_of_emoji("lost: accepted and never counted", self.lost),
            *_of_emoji("counted although nobody of this run sent them", self.doubled),
            *_of_emoji("in the totals and in no swarm, or the other way", (one - other) + (other - one)),
            *_when(calm and self.gaps, f"{self.gaps:,} swarms came after one that never came"),
            *_when(self.repeats, f"{self.repeats:,} swarms came a second time"),
            *_when(self.unequal, f"{self.unequal:,} swarms were not the same for all viewers"),
            *_when(calm and self.resets, f"{self.resets:,} times a viewer was told that it had missed swarms"),
            *_when(under_faults and self.skipped, f"{self.skipped:,} swarms were skipped by a reset of their viewer"),
            *_when(self.behind, f"{self.behind:,} viewers were connected to the end and did not get the last swarm"),
            *_when(
                calm and self.delivered != self.expected,
                f"viewers got {self.delivered:,} swarms, and {self.expected:,} lie between their first and their last",
            ),
            *_when(self.in_flight, f"{self.in_flight:,} accepted reactions were never seen by a viewer"),
        ]


class RunAccount(msgspec.Struct, frozen=True):
    """What one process knows of a run, or all of it: the account of each event, and `one + other` adds them up.

    `failures` counts the requests and the streams of all events that failed.
    """

    events: Mapping[str, Account]
    failures: int = 0

    def __add__(self, other: "RunAccount") -> "RunAccount":
        names = dict.fromkeys([*self.events, *other.events])
        none = Account()
        events = {name: self.events.get(name, none) + other.events.get(name, none) for name in names}
        return RunAccount(events, self.failures + other.failures)

    @property
    def total(self) -> Account:
        """The sum of all events. It does not show what was accepted for one event and counted in another."""
        return sum(self.events.values(), Account())

    @property
    def lost(self) -> Counter[str]:
        """The reactions that should be counted in their event but are not, by emoji."""
        return sum((each.lost for each in self.events.values()), Counter())

    @property
    def doubled(self) -> Counter[str]:
        """The reactions that are counted in an event but were never sent to it, by emoji."""
        return sum((each.doubled for each in self.events.values()), Counter())

    def problems(self, *, under_faults: bool = False) -> list[str]:
        """Return what is wrong, like `Account.problems`. A sentence names its event if there are several events."""
        calm = not under_faults
        found = [
            f"{event}: {problem}" if len(self.events) > 1 else problem
            for event, account in self.events.items()
            for problem in account.problems(under_faults=under_faults)
        ]
        return [
            *_when(calm and not self.total.accepted, "no reaction was accepted, so the run shows nothing"),
            *found,
            *_when(calm and self.failures, f"{self.failures:,} requests or streams failed"),
        ]


def _sum(one: Any, other: Any) -> Any:
    return one + other if isinstance(one, int) else dict(Counter(one) + Counter(other))


def _of_emoji(what: str, counts: Counter[str]) -> list[str]:
    examples = ", ".join(f"{emoji} {number:,}" for emoji, number in counts.most_common(5))
    return _when(counts, f"{counts.total():,} reactions were {what}: {examples}")


def _when(is_wrong: object, sentence: str) -> list[str]:
    return [sentence] if is_wrong else []
