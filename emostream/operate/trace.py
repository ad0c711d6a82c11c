"""`emostream trace`: which record holds the reactions of a request, and which swarm has counted them.

Kafka alone is asked. Ingest names the requests in each record, and each swarm says up to which record it counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition

from emostream import model
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.model import DEAD_LETTER_TOPIC, MAIN, REACTIONS_TOPIC, REQUESTS_HEADER, SWARMS_TOPIC, Requests, Swarm
from emostream.runtime import request_ids
from emostream.runtime.kafka import explained_errors, log_reader, records_until
from emostream.swarms.log import no_topic
from emostream.swarms.rules import progress_of, read_record

# How far the clocks of hosts may differ.
_SKEW_MS = 5_000
# A request may wait for its body and for Kafka before its record is made.
_PATIENCE_MS = 30_000
_TIMEOUT_SECONDS = 600.0
# So many offsets hold some swarms before a time: each takes two or more.
_OFFSETS_BEFORE = 10


@dataclass(frozen=True)
class Found:
    """A record that holds the reactions of a request, which are all to one event."""

    record: Any
    requests: Requests
    event: str

    @property
    def place(self) -> str:
        """The record's partition and offset."""
        return f"{self.record.topic}/{self.record.partition}, offset {self.record.offset}"


def trace(settings: KafkaSettings, request: str, now_ms: int, minutes: int | None) -> Iterator[str]:
    """Yield what there is to tell of a request, a line each.

    If the id does not tell the time of its request, the last `minutes` are searched. Raises EmoStreamError if no record
    holds the request, or no swarm counts it.
    """
    since_ms, until_ms = _when(request, now_ms, minutes)
    with (
        log_reader(settings.bootstrap_servers, settings.max_record_bytes) as reader,
        explained_errors(settings.bootstrap_servers),
    ):
        records = _records(reader, REACTIONS_TOPIC, since_ms, until_ms)
        found = next(filter(None, (holds(record, request) for record in records)), None)
        if found is None:
            raise _not_found(settings, request, since_ms, until_ms, now_ms)
        others = sum(map(len, found.requests.ids.values())) - 1
        yield f"accepted by ingest {found.requests.ingest}, for the event {found.event}"
        yield f"written to {found.place}, at {_text(found.record.timestamp)}, with {others} other requests"
        yield _verdict(reader, found)


def holds(record: Any, request: str) -> Found | None:
    """Return what a record of `reactions` says of a request, or None if it does not hold it."""
    for name, value in record.headers:
        if name == REQUESTS_HEADER:
            try:
                requests = model.decode(value, Requests)
            except msgspec.DecodeError:
                return None
            event = next((event for event, ids in requests.ids.items() if request in ids), None)
            return None if event is None else Found(record, requests, event)
    return None


def counts(swarm: Swarm, partition: int, offset: int) -> bool:
    """Return whether this swarm, or one before it, covers a record of `reactions`."""
    return progress_of(swarm).offsets.get(str(partition), 0) > offset


def message_of(swarm: Swarm, event: str) -> tuple[str, int] | None:
    """Return the id and the sequence with which viewers of an event see a swarm; None if it does not hold the event."""
    if event == MAIN:
        return swarm.id, swarm.sequence
    part = swarm.parts.get(event)
    messages = part.messages(swarm.window) if part is not None else []
    return next(((each.id, each.sequence) for each in messages), None)


def _when(request: str, now_ms: int, minutes: int | None) -> tuple[int, int]:
    """When the record of a request was made: the earliest and the latest time."""
    if not request_ids.is_well_formed(request):
        raise EmoStreamError(f"{request!r} is no id of a request: it has 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`.")
    if minutes is not None:
        return now_ms - 60_000 * minutes, now_ms
    came_ms = request_ids.time_ms(request)
    if came_ms is None:
        raise EmoStreamError(f"the id {request} does not begin with a time: say how far to look back, as --minutes 30.")
    return came_ms - _SKEW_MS, came_ms + _PATIENCE_MS


def _not_found(settings: KafkaSettings, request: str, since_ms: int, until_ms: int, now_ms: int) -> EmoStreamError:
    kept_hours = settings.reactions_retention_ms / 3_600_000
    if now_ms - since_ms > settings.reactions_retention_ms:
        return EmoStreamError(
            f"no record names {request}. It is too old: Kafka deletes records of {REACTIONS_TOPIC} after "
            f"{kept_hours:g} hours (EMOSTREAM_KAFKA_REACTIONS_RETENTION_MS)."
        )
    return EmoStreamError(
        f"no record of {REACTIONS_TOPIC} from {_text(since_ms)} to {_text(until_ms)} names {request}. It was refused, "
        f"or it reached no ingest: `journalctl -u haproxy --grep {request}` on the gateways says so. Or there were "
        "so many records since then that Kafka deleted it (EMOSTREAM_KAFKA_REACTIONS_RETENTION_BYTES)."
    )


def _verdict(reader: KafkaConsumer, found: Found) -> str:
    """Which swarm counts a record. Raises EmoStreamError if none does."""
    record, before, swarm = found.record, None, None
    for each in _records(reader, SWARMS_TOPIC, record.timestamp - _SKEW_MS, None, _OFFSETS_BEFORE):
        before, swarm = swarm, read_record(each.value)
        if counts(swarm, record.partition, record.offset):
            break
    else:
        last = "there is no swarm" if swarm is None else f"the last swarm is {swarm.id}"
        raise EmoStreamError(
            f"not counted yet ({last}): does an aggregator lead? `emostream status` says so. It will be counted."
        )
    message = message_of(swarm, found.event)
    if reason := _dead_letter(reader, found, is_whole=message is not None):
        raise EmoStreamError(f"set aside as a dead letter by swarm {swarm.id}: {reason}.")
    name, sequence = message or (swarm.id, swarm.sequence)
    earlier = "" if before is not None else "; or by one before it, which Kafka no longer has"
    window = f"{_text(swarm.window.start)} to {_text(swarm.window.end)}"
    return f"counted by swarm {name} of the event {found.event}, sequence {sequence}, window {window}{earlier}"


def _dead_letter(reader: KafkaConsumer, found: Found, *, is_whole: bool) -> str | None:
    """Why the record is a dead letter; with `is_whole`, only if all of it is. None if it is not."""
    position = str(found.record.partition).encode(), str(found.record.offset).encode()
    for letter in _records(reader, DEAD_LETTER_TOPIC, found.record.timestamp - _SKEW_MS, None):
        headers = dict(letter.headers)
        if (headers.get("partition"), headers.get("offset")) == position:
            is_all = int(headers["size"]) == len(found.record.value)
            return headers["reason"].decode() if is_all or not is_whole else None
    return None


def _records(
    reader: KafkaConsumer, topic: str, since_ms: int, until_ms: int | None, offsets_before: int = 0
) -> Iterator[Any]:
    """The records of a topic that were written in this time, partition by partition.

    They begin `offsets_before` earlier.
    """
    numbers = reader.partitions_for_topic(topic)
    if not numbers:
        raise no_topic(topic)
    for number in sorted(numbers):
        partition = TopicPartition(topic, number)
        reader.assign([partition])
        found = reader.offsets_for_times({partition: max(since_ms, 0)})[partition]
        begin, end = reader.beginning_offsets([partition])[partition], reader.end_offsets([partition])[partition]
        first = (end if found is None else found.offset) - offsets_before
        for record in records_until(reader, partition, max(begin, first), end, _TIMEOUT_SECONDS):
            if until_ms is not None and record.timestamp > until_ms:
                break
            yield record


def _text(time_ms: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
