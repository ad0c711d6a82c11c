"""The rules that turn a micro-batch into the next swarm. Pure: no Kafka, no Spark, no clock.

A swarm carries the offsets up to which it counts. The rules here make sure that each batch begins exactly where the
last swarm ended, and that no record in between is left out. They also decide whether a stream may continue.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from emostream.errors import EmoStreamError
from emostream.model import (
    MAIN,
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    Counts,
    EventPart,
    Progress,
    Swarm,
    Window,
    decode_swarm,
    message_id,
    parse_message_id,
)

RECOVERY_COMMAND = "emostream topics apply --new-stream"


class NotASwarmError(EmoStreamError):
    """A record of `swarms` is not from an aggregator. Only a new stream can follow it."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the last record of {SWARMS_TOPIC} is not a swarm ({reason}), so another program wrote it: "
            f"to begin a new stream, run `{RECOVERY_COMMAND}`."
        )


@dataclass(frozen=True)
class ReactionsTopic:
    """The state of the topic `reactions` at the broker: its id, and the offsets that it holds now.

    `beginnings` and `ends` are by partition: the first offset that retention has left, and the offset after the last
    record.
    """

    id: str
    beginnings: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass(frozen=True)
class Compression:
    """The rule that turns the count of an emoji into the number that a viewer sees fly.

    The count is divided by `ratio`. `ceil` rounds up. `floor` rounds down, but to at least 1.
    """

    ratio: int
    rule: Literal["ceil", "floor"]

    def of(self, count: int) -> int:
        if self.rule == "ceil":
            return math.ceil(count / self.ratio)
        return max(1, count // self.ratio)


@dataclass(frozen=True)
class Group:
    """The reactions of one emoji to one event in one partition of a micro-batch.

    `first` and `last` are the first and the last offset of their records. `emoji` is None for records without a
    reaction: empty lists and dead letters. `records` counts each record once, in the group of its first reaction.
    """

    partition: int
    emoji: str | None
    reactions: int
    records: int
    first: int
    last: int
    event: str = MAIN


@dataclass(frozen=True)
class Changes:
    """What a record changes about the events: those that it opens, with their streams, ends, and takes out."""

    opened: Mapping[str, str] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    archived: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.opened or self.ended or self.archived)


@dataclass(frozen=True)
class Batch:
    """A counted micro-batch. `ends` holds, by partition, the offset up to which Spark planned the batch."""

    ends: Mapping[int, int]
    groups: Sequence[Group]
    dead_letters: int = 0


def next_swarm(previous: Swarm, batch: Batch, now_ms: int, trigger_ms: int, compression: Compression) -> Swarm:
    """Return the swarm after `previous`. Raises EmoStreamError if the batch does not begin where `previous` ended.

    Reactions to an event that `previous` does not hold are not counted: they are dead letters.
    """
    progress = progress_of(previous)
    _check_contiguous(progress, batch)
    counts_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group in batch.groups:
        if group.emoji is not None:
            counts_of[group.event][group.emoji] += group.reactions
    counts = counts_of[MAIN]
    swarm = empty_swarm(previous, now_ms, trigger_ms)
    return msgspec.structs.replace(
        swarm,
        reactions=counts.total(),
        counts=dict(counts),
        swarm={emoji: compression.of(count) for emoji, count in counts.items()},
        totals=dict(Counter(previous.totals) + counts),
        progress=Progress(
            reactions_topic_id=progress.reactions_topic_id,
            offsets={**progress.offsets, **{str(partition): end for partition, end in batch.ends.items()}},
            dead_letters=progress.dead_letters + batch.dead_letters,
        ),
        events=_or_unset(
            {event: _next_part(part, counts_of.get(event), compression) for event, part in swarm.parts.items()}
        ),
    )


def empty_swarm(previous: Swarm, now_ms: int, trigger_ms: int) -> Swarm:
    """Return a swarm after `previous` that counts nothing."""
    sequence = previous.sequence + 1
    # Windows must not overlap, even if the clock was set back.
    end = max(now_ms, previous.window.end)
    return msgspec.structs.replace(
        previous,
        id=message_id(stream_of(previous), sequence),
        sequence=sequence,
        window=Window(start=max(previous.window.end, end - trigger_ms), end=end),
        reactions=0,
        counts={},
        swarm={},
        events=_or_unset({event: without_counts(part) for event, part in previous.parts.items()}),
    )


def without_counts(part: EventPart) -> EventPart:
    """Return an event's part for a record that counts no reaction to the event."""
    return msgspec.structs.replace(part, counts={}, swarm={}) if part.counts else part


def changed_swarm(previous: Swarm, changes: Changes, now_ms: int, trigger_ms: int) -> Swarm:
    """Return a swarm after `previous` that counts nothing, and opens, ends and takes out events."""
    swarm = empty_swarm(previous, now_ms, trigger_ms)
    parts = dict(swarm.parts)
    for event in changes.archived:
        parts.pop(event, None)
    for event in changes.ended:
        parts[event] = msgspec.structs.replace(parts[event], sequence=parts[event].sequence + 1, ended=True)
    for event, stream in changes.opened.items():
        parts[event] = EventPart(stream, 0, {})
    return msgspec.structs.replace(swarm, events=_or_unset(parts))


def unknown_events(previous: Swarm, groups: Iterable[Group]) -> set[str]:
    """Return the events in a batch after `previous` that no reaction can count for: they were archived, or made up."""
    return {group.event for group in groups} - {MAIN, *previous.parts}


def _next_part(part: EventPart, counts: Counter[str] | None, compression: Compression) -> EventPart:
    if not counts:
        return part
    return EventPart(
        stream=part.stream,
        # What comes after the end is one more swarm, and one more end.
        sequence=part.sequence + (2 if part.ended else 1),
        totals=dict(Counter(part.totals) + counts),
        counts=dict(counts),
        swarm={emoji: compression.of(count) for emoji, count in counts.items()},
        ended=part.ended,
    )


def _or_unset(parts: dict[str, EventPart]) -> dict[str, EventPart] | msgspec.UnsetType:
    """Return the parts for a record, which has no such field while there are none."""
    return parts or msgspec.UNSET


def offsets_planned(previous: Swarm, ends: Mapping[int, int]) -> int:
    """Return how many offsets a batch after `previous` covers up to `ends`. It has at most that many records."""
    offsets = progress_of(previous).offsets
    return sum(end - offsets.get(str(partition), 0) for partition, end in ends.items())


def offsets_without_record(previous: Swarm, batch: Batch) -> int:
    """Return how many of the batch's offsets hold no record. Such offsets are the marks of a transactional writer.

    Ingest does not use transactions, so the number is 0 unless another program writes to `reactions`.
    """
    return offsets_planned(previous, batch.ends) - sum(group.records for group in batch.groups)


def first_swarm(stream: str, topic: ReactionsTopic, previous: Swarm | None) -> Swarm:
    """Return record 0 of a new stream. It counts nothing, and starts at the beginning of `reactions`.

    `previous` is the last record of the earlier stream. If it counted the same topic, the new stream starts after it,
    so that no reaction counts twice. The events other than `main` have streams of their own, which go on.
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
        events=msgspec.UNSET if previous is None else empty_swarm(previous, 0, 0).events,
    )


def restored_swarm(
    stream: str, topic: ReactionsTopic, previous: Swarm | None, totals: Counts, parts: Mapping[str, EventPart]
) -> Swarm:
    """Return record 0 of a new stream that goes on with these totals of `main` and these parts of the other events.

    It starts where `first_swarm` does.
    """
    return msgspec.structs.replace(first_swarm(stream, topic, previous), totals=totals, events=_or_unset(dict(parts)))


def starting_offsets(last: Swarm | None, topic: ReactionsTopic) -> dict[int, int]:
    """Return the offset by partition of `reactions` from which to continue after the last swarm.

    A partition that the last swarm does not name starts at 0. Raises EmoStreamError if continuing would lose reactions
    or count some twice. The message names the command that recovers.
    """
    if last is None:
        raise EmoStreamError(
            f"{SWARMS_TOPIC} is empty, so it is not known which reactions were counted: if all of {REACTIONS_TOPIC} is "
            f"to be counted, in a new stream, run `{RECOVERY_COMMAND}`."
        )
    progress = progress_of(last)
    if progress.reactions_topic_id != topic.id:
        raise EmoStreamError(
            f"{REACTIONS_TOPIC} was recreated since the last swarm (its id is {topic.id}, and "
            f"{progress.reactions_topic_id} was counted): to begin a new stream with it, run `{RECOVERY_COMMAND}`."
        )
    offsets = {partition: progress.offsets.get(str(partition), 0) for partition in topic.beginnings}
    for partition, offset in offsets.items():
        if offset < topic.beginnings[partition]:
            raise EmoStreamError(
                f"{REACTIONS_TOPIC} partition {partition} begins at offset {topic.beginnings[partition]}, but only "
                f"those before {offset} are counted: retention deleted {topic.beginnings[partition] - offset} records "
                "while no aggregator ran. To continue without them in a new stream, run "
                f"`{RECOVERY_COMMAND}`; higher EMOSTREAM_KAFKA_REACTIONS_RETENTION_MS and _BYTES avoid this."
            )
        if offset > topic.ends[partition]:
            raise EmoStreamError(
                f"{REACTIONS_TOPIC} partition {partition} ends at offset {topic.ends[partition]}, but those before "
                f"{offset} are counted: a broker lost records that it had acknowledged. To continue with the rest "
                f"in a new stream, run `{RECOVERY_COMMAND}`."
            )
    return offsets


def read_record(value: bytes) -> Swarm:
    """Decode a record of `swarms`. Raises NotASwarmError if no aggregator wrote it."""
    try:
        swarm = decode_swarm(value)
    except msgspec.DecodeError as error:
        raise NotASwarmError(str(error)) from error
    if not isinstance(swarm.progress, Progress):
        raise NotASwarmError("it has no progress")
    if parse_message_id(swarm.id) is None:
        raise NotASwarmError(f"its id is {swarm.id!r}")
    return swarm


def progress_of(swarm: Swarm) -> Progress:
    """Return the checkpoint in a record of `swarms`."""
    assert isinstance(swarm.progress, Progress), "read_record lets no other in"  # noqa: S101
    return swarm.progress


def stream_of(swarm: Swarm) -> str:
    """Return the stream that a record of `swarms` belongs to."""
    parsed = parse_message_id(swarm.id)
    assert parsed is not None, "read_record lets no other in"  # noqa: S101
    return parsed[0]


def _check_contiguous(progress: Progress, batch: Batch) -> None:
    for partition, end in batch.ends.items():
        start = progress.offsets.get(str(partition), 0)
        # If a batch has no record of a partition, no group shows which offsets Spark read, so check the end as well.
        if end < start:
            raise _out_of_order(f"up to {end}", partition, f"{start} and later were")
    for group in batch.groups:
        start = progress.offsets.get(str(group.partition), 0)
        end = batch.ends.get(group.partition, start)
        if not start <= group.first <= group.last < end:
            raise _out_of_order(f"{group.first} to {group.last}", group.partition, f"{start} to {end - 1} were")


def _out_of_order(read: str, partition: int, due: str) -> EmoStreamError:
    return EmoStreamError(
        f"Spark read offsets {read} of {REACTIONS_TOPIC} partition {partition}, but {due} due: nothing of this batch "
        "is counted; the aggregator restarts from the last swarm."
    )
