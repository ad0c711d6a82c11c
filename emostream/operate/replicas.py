"""Which brokers have the copies of a topic's partitions: works out where they should be, and lets the brokers copy.

A topic keeps the copies that it was made with. So more brokers, or a higher replication factor, change nothing until
the copies are moved. `emostream topics apply` does that.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from kafka import KafkaAdminClient, TopicPartition

from emostream.errors import EmoStreamError
from emostream.runtime import logs

log = logs.get(__name__)

# By partition: the ids of the brokers that have a copy. The first is the preferred leader.
Placement = Mapping[int, Sequence[int]]

_POLL_SECONDS = 0.5
_TELL_SECONDS = 10.0


def moves(found: Placement, up: Collection[int], copies: int, leaving: Collection[int] = ()) -> Placement:
    """Return the partitions whose copies must change, each with the brokers that shall have them. Pure.

    Each partition gets at least this number of copies, on brokers that are `up`, and none on those that are `leaving`.
    Copies and preferred leaders are spread evenly, with few moves. A copy on a broker that is down stays there, because
    the broker may return, and nothing is spread meanwhile. Raises EmoStreamError if there are too few brokers.
    """
    counts = Counter(dict.fromkeys(sorted(set(up) - set(leaving)), 0))
    placed = {partition: list(on) for partition, on in found.items()}
    counts.update(broker for on in placed.values() for broker in on if broker in counts)
    for on in placed.values():
        _fill(on, counts, copies, leaving)
    if all(broker in counts for on in placed.values() for broker in on):
        _spread_copies(placed, counts)
        _spread_leaders(placed, counts)
    return {partition: on for partition, on in placed.items() if on != list(found[partition])}


def too_few(copies: int, brokers: int) -> EmoStreamError:
    """Return the error for copies that have no place."""
    return EmoStreamError(f"{copies} copies need as many brokers, but {brokers} are up and stay.")


def _fill(on: list[int], counts: Counter[int], copies: int, leaving: Collection[int]) -> None:
    """Take the copies from the leaving brokers, and add those that are missing."""
    kept = [broker for broker in on if broker not in leaving]
    missing = max(0, copies - len(kept))
    free = sorted((broker for broker in counts if broker not in kept), key=lambda broker: (counts[broker], broker))
    if len(free) < missing:
        raise too_few(copies, len(counts))
    new = free[:missing]
    counts.update(new)
    on[:] = kept + new


def _spread_copies(placed: Mapping[int, list[int]], counts: Counter[int]) -> None:
    while True:
        most, least = max(counts, key=lambda each: counts[each]), min(counts, key=lambda each: counts[each])
        if counts[most] - counts[least] < 2:
            return
        on = next(on for on in placed.values() if most in on and least not in on)
        on[on.index(most)] = least
        counts[most] -= 1
        counts[least] += 1


def _spread_leaders(placed: Mapping[int, list[int]], brokers: Collection[int]) -> None:
    """Let each broker be the preferred leader of about as many partitions. This copies no data."""
    leads = Counter(dict.fromkeys(brokers, 0))
    leads.update(on[0] for on in placed.values())
    has_changed = True
    while has_changed:
        has_changed = False
        for on in placed.values():
            least = min(on, key=lambda broker: leads[broker])
            if leads[on[0]] - leads[least] >= 2:
                leads[on[0]] -= 1
                leads[least] += 1
                on.remove(least)
                on.insert(0, least)
                has_changed = True


def move(admin: KafkaAdminClient, topic: str, wanted: Placement) -> None:
    """Let the brokers move the copies of a topic, and wait until they have.

    They go on by themselves if this is cut off. Raises EmoStreamError if they refuse.
    """
    wanted_of = {TopicPartition(topic, partition): list(on) for partition, on in wanted.items()}
    for partition, error in admin.alter_partition_reassignments(wanted_of).items():
        if error is not None:
            raise EmoStreamError(f"{topic}: the broker refused to move partition {partition.partition} ({error}).")
    wait(admin, [topic])


def wait(admin: KafkaAdminClient, topics: Collection[str]) -> None:
    """Wait until no copies of these topics are being made, and log every 10 s how many partitions are left."""
    tell_at = time.monotonic() + _TELL_SECONDS
    while left := [each for each in admin.list_partition_reassignments() if each.topic in topics]:
        if time.monotonic() > tell_at:
            log.info("brokers copy partitions", left=len(left), topics=sorted({each.topic for each in left}))
            tell_at += _TELL_SECONDS
        time.sleep(_POLL_SECONDS)
