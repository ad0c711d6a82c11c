"""How a micro-batch becomes the next swarm, and when a stream may go on at all. Pure: no Kafka, no Spark, no clock.

A swarm carries the offsets up to which it counts. So the rules here are all about one thing: each batch begins exactly
where the last swarm ended, and nothing between two offsets goes unseen.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from emostream.errors import EmoStreamError
from emostream.model import (
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    Progress,
    Swarm,
    Window,
    decode_swarm,
    message_id,
    parse_message_id,
)

RECOVERY_COMMAND = "emostream topics apply --new-stream"


class NotASwarmError(EmoStreamError):
    """A record of `swarms` that no aggregator wrote, so nothing can follow it but a new stream."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the last record of {SWARMS_TOPIC} is no swarm ({reason}), so something else than an aggregator wrote it: "
            f"to begin a new stream, run `{RECOVERY_COMMAND}`."
        )


@dataclass(frozen=True)
class ReactionsTopic:
    """What the broker says of `reactions`: which incarnation it is, and what it holds now.

    `beginnings` and `ends` are by partition: the first offset that retention has left, and the one after the last.
    """

    id: str
    beginnings: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass(frozen=True)
class Compression:
    """How many of one emoji a viewer sees fly by: a rest rounds up (`ceil`), or down but to 1 at least (`floor`)."""

    ratio: int
    rule: Literal["ceil", "floor"]

    def of(self, count: int) -> int:
        if self.rule == "ceil":
            return math.ceil(count / self.ratio)
        return max(1, count // self.ratio)


@dataclass(frozen=True)
class Group:
    """Reactions of one emoji in one partition of a micro-batch, over so many records from `first` to `last` offset.

    `emoji` is None for the records that hold no reaction: empty lists and dead letters. A record counts once, in the
    group of its first reaction.
    """

    partition: int
    emoji: str | None
    reactions: int
    records: int
    first: int
    last: int


@dataclass(frozen=True)
class Batch:
    """A micro-batch, counted: `ends` are the offsets up to which Spark planned it, by partition."""

    ends: Mapping[int, int]
    groups: Sequence[Group]
    dead_letters: int = 0


def next_swarm(previous: Swarm, batch: Batch, now_ms: int, trigger_ms: int, compression: Compression) -> Swarm:
    """The swarm that follows `previous`. Raises EmoStreamError where the batch does not begin where that one ended."""
    progress = progress_of(previous)
    _check_contiguous(progress, batch)
    stream, sequence = stream_of(previous), previous.sequence + 1
    counts: Counter[str] = Counter()
    for group in batch.groups:
        if group.emoji is not None:
            counts[group.emoji] += group.reactions
    # A clock that was set back must not make windows overlap.
    end = max(now_ms, previous.window.end)
    return Swarm(
        id=message_id(stream, sequence),
        sequence=sequence,
        window=Window(start=max(previous.window.end, end - trigger_ms), end=end),
        reactions=counts.total(),
        counts=dict(counts),
        swarm={emoji: compression.of(count) for emoji, count in counts.items()},
        totals=dict(Counter(previous.totals) + counts),
        progress=Progress(
            reactions_topic_id=progress.reactions_topic_id,
            offsets={**progress.offsets, **{str(partition): end for partition, end in batch.ends.items()}},
            dead_letters=progress.dead_letters + batch.dead_letters,
        ),
    )


def offsets_planned(previous: Swarm, ends: Mapping[int, int]) -> int:
    """How many offsets of `reactions` a batch that follows `previous` covers up to `ends`; it has no more records."""
    offsets = progress_of(previous).offsets
    return sum(end - offsets.get(str(partition), 0) for partition, end in ends.items())


def offsets_without_record(previous: Swarm, batch: Batch) -> int:
    """Offsets that the batch covers and no record was read of: the marks of a foreign transactional writer.

    Our own writer of `reactions` uses no transactions, so where only it writes this is 0.
    """
    return offsets_planned(previous, batch.ends) - sum(group.records for group in batch.groups)


def first_swarm(stream: str, topic: ReactionsTopic, previous: Swarm | None) -> Swarm:
    """Record 0 of a new stream: it counts nothing, and begins where `reactions` does.

    What `previous`, the last record of an earlier stream over the same topic, has counted is not counted again.
    """
    counted: Mapping[str, int] = {}
    if previous is not None and progress_of(previous).reactions_topic_id == topic.id:
        counted = progress_of(previous).offsets
    offsets = {
        str(partition): min(max(beginning, counted.get(str(partition), 0)), topic.ends[partition])
        for partition, beginning in topic.beginnings.items()
    }
    return Swarm(
        id=message_id(stream, 0),
        sequence=0,
        window=Window(start=0, end=0),
        reactions=0,
        counts={},
        swarm={},
        totals={},
        progress=Progress(reactions_topic_id=topic.id, offsets=offsets),
    )


def starting_offsets(last: Swarm | None, topic: ReactionsTopic) -> dict[int, int]:
    """Where to go on in each partition of `reactions`; a partition that the last record does not know begins at 0.

    Raises EmoStreamError, with the command that recovers, where going on would lose reactions or count some twice.
    """
    if last is None:
        raise EmoStreamError(
            f"{SWARMS_TOPIC} is empty, so it is not known which reactions were counted: if all of {REACTIONS_TOPIC} is "
            f"to be counted, in a new stream, run `{RECOVERY_COMMAND}`."
        )
    progress = progress_of(last)
    if progress.reactions_topic_id != topic.id:
        raise EmoStreamError(
            f"{REACTIONS_TOPIC} was made anew since the last swarm (it is topic {topic.id} now, "
            f"{progress.reactions_topic_id} was counted): to begin a new stream with it, run `{RECOVERY_COMMAND}`."
        )
    offsets = {partition: progress.offsets.get(str(partition), 0) for partition in topic.beginnings}
    for partition, offset in offsets.items():
        if offset < topic.beginnings[partition]:
            raise EmoStreamError(
                f"{REACTIONS_TOPIC} partition {partition} begins at offset {topic.beginnings[partition]}, but only "
                f"those before {offset} are counted: retention deleted {topic.beginnings[partition] - offset} records "
                "while no aggregator ran. To go on without them, in a new stream, run "
                f"`{RECOVERY_COMMAND}`; a longer EMOSTREAM_KAFKA_REACTIONS_RETENTION_MS outlasts such an outage."
            )
        if offset > topic.ends[partition]:
            raise EmoStreamError(
                f"{REACTIONS_TOPIC} partition {partition} ends at offset {topic.ends[partition]}, but those before "
                f"{offset} are counted: a broker lost records that it had acknowledged. To go on from what is left, "
                f"in a new stream, run `{RECOVERY_COMMAND}`."
            )
    return offsets


def read_record(value: bytes) -> Swarm:
    """A record of `swarms`. Raises NotASwarmError where no aggregator wrote it."""
    try:
        swarm = decode_swarm(value)
    except msgspec.DecodeError as error:
        raise NotASwarmError(str(error)) from error
    if not isinstance(swarm.progress, Progress):
        raise NotASwarmError("it carries no progress")
    if parse_message_id(swarm.id) is None:
        raise NotASwarmError(f"its id is {swarm.id!r}")
    return swarm


def progress_of(swarm: Swarm) -> Progress:
    """How far a record of `swarms` counts."""
    assert isinstance(swarm.progress, Progress), "read_record lets no other in"  # noqa: S101
    return swarm.progress


def stream_of(swarm: Swarm) -> str:
    """The stream that a record of `swarms` belongs to."""
    parsed = parse_message_id(swarm.id)
    assert parsed is not None, "read_record lets no other in"  # noqa: S101
    return parsed[0]


def _check_contiguous(progress: Progress, batch: Batch) -> None:
    for partition, end in batch.ends.items():
        start = progress.offsets.get(str(partition), 0)
        # Where a batch holds no record of a partition, no group tells where Spark was.
        if end < start:
            raise _out_of_order(f"up to {end}", partition, f"{start} and later were")
    for group in batch.groups:
        start = progress.offsets.get(str(group.partition), 0)
        end = batch.ends.get(group.partition, start)
        if not start <= group.first <= group.last < end:
            raise _out_of_order(f"{group.first} to {group.last}", group.partition, f"{start} to {end - 1} were")


def _out_of_order(read: str, partition: int, due: str) -> EmoStreamError:
    return EmoStreamError(
        f"Spark read offsets {read} of {REACTIONS_TOPIC} partition {partition} where {due} due: nothing of this batch "
        "is counted; the aggregator starts again from the last swarm."
    )
