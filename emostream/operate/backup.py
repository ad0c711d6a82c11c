"""`emostream backup`: writes what is state to a file, and lets a new stream of `swarms` go on with it.

The state is the last record of `swarms`, which has the totals of every event, and the table of events in ZooKeeper.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from emostream import model
from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events.steps import parts_to_restore
from emostream.events.table import Definition, Table
from emostream.model import SWARMS_TOPIC, Swarm, new_stream_id
from emostream.operate import events
from emostream.swarms.log import describe_reactions, last_swarm
from emostream.swarms.rules import ReactionsTopic, offsets_planned, restored_swarm, stream_of

# A file of another format is refused. It holds a record of `swarms`, so it changes with `LOG_FORMAT_WRITTEN` too.
FORMAT = 1

_ZOOKEEPER_SECONDS = 60


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic at the time of the backup, for whoever compares. `configs` are Kafka's names and values."""

    partitions: int
    copies: int
    configs: dict[str, str]


class Backup(msgspec.Struct, frozen=True):
    """What is state. `record` was the last one of `swarms` while ZooKeeper held the table `events`.

    `taken_ms` is the time, in milliseconds since the epoch. The `progress` of the record says which records of
    `reactions` are counted in it. `topics` is for people: a restore makes topics by its own settings.
    """

    taken_ms: int
    record: Swarm
    events: dict[str, Definition]
    topics: dict[str, TopicInfo]

    def __str__(self) -> str:
        others = sum(sum(part.totals.values()) for part in self.record.parts.values())
        return (
            f"{sum(self.record.totals.values()):,} reactions to {model.MAIN} and {others:,} to "
            f"{len(self.record.parts)} other events, as of swarm {self.record.id}"
        )


class _File(msgspec.Struct, frozen=True):
    format: int
    sha256: str
    backup: msgspec.Raw


def take(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, topics: Mapping[str, TopicInfo]) -> tuple[Backup, int]:
    """Read the state. Nothing has to stop for it.

    Also returns how many records of `reactions` are not counted in it. Raises EmoStreamError if there is no state, or
    if a server does not answer.
    """
    with events.operator(zookeeper, kafka, _ZOOKEEPER_SECONDS) as operator:
        table, record = None, None
        # The record must be one of this table.
        while table != (table := operator.table()):
            record = last_swarm(kafka)
    if record is None:
        raise EmoStreamError(f"{SWARMS_TOPIC} is empty, so there is nothing to back up.")
    waiting = offsets_planned(record, describe_reactions(kafka).ends)
    return Backup(_now_ms(), record, dict(table), dict(topics)), waiting


def write(backup: Backup, path: Path) -> None:
    """Write a backup: the whole file is there, or none. Only its owner may read it. Raises EmoStreamError."""
    encoded = model.encode(backup)
    content = model.encode(_File(FORMAT, hashlib.sha256(encoded).hexdigest(), msgspec.Raw(encoded)))
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise EmoStreamError(f"the backup could not be written: {error}.") from error


def read(content: bytes) -> Backup:
    """Decode the content of a file. Raises EmoStreamError if it is no backup, of another format, or damaged."""
    try:
        file = model.decode(content, _File)
    except msgspec.DecodeError as error:
        raise EmoStreamError(f"this is no backup, or it is cut off: {error}.") from error
    if file.format != FORMAT:
        raise EmoStreamError(
            f"the backup has format {file.format}, and this release reads {FORMAT}: restore it with the release that "
            "wrote it."
        )
    encoded = bytes(file.backup)
    if hashlib.sha256(encoded).hexdigest() != file.sha256:
        raise EmoStreamError("the backup is damaged: its checksum is that of another content. Take an older one.")
    try:
        return model.decode(encoded, Backup)
    except msgspec.DecodeError as error:
        raise EmoStreamError(f"the backup cannot be read: {error}.") from error


def restore_table(backup: Backup, zookeeper: ZooKeeperSettings, kafka: KafkaSettings) -> Table:
    """Put the table of events in place, unless ZooKeeper has one, which is newer. Returns the one that is there then.

    Raises EmoStreamError if ZooKeeper does not answer, or if a record has no room for the events.
    """
    with events.operator(zookeeper, kafka, _ZOOKEEPER_SECONDS) as operator:
        return operator.restore(backup.events)


def first_record(backup: Backup, table: Table, topic: ReactionsTopic, last: Swarm | None, now_ms: int) -> Swarm:
    """Return record 0 of the stream that goes on with the totals of a backup, under this table of events.

    `last` is the last record of `swarms` now. Raises EmoStreamError if it has counted anything.
    """
    refuse_counted(last)
    stream = new_stream_id(now_ms, max(_streams(backup, table, last)))
    parts = parts_to_restore(table, backup.record.parts, stream)
    return restored_swarm(stream, topic, last, backup.record.totals, parts)


def refuse_counted(last: Swarm | None) -> None:
    """Raise EmoStreamError if a restore would replace what was counted. `last` is the last record of `swarms`."""
    if last is not None and (last.sequence > 0 or last.totals or last.parts):
        raise EmoStreamError(
            f"{SWARMS_TOPIC} has counted already: its last record is swarm {last.id}. A restore is for new topics, "
            "because it would replace what was counted. If this system was restored before, apply the topics without "
            "--new-stream and --totals-from."
        )


def _streams(backup: Backup, table: Table, last: Swarm | None) -> Iterator[str]:
    """The streams that the new one must sort after: a viewer may know any of them."""
    yield from (stream_of(record) for record in (backup.record, last) if record is not None)
    yield from (part.stream for part in backup.record.parts.values())
    yield from (definition.stream for of in (backup.events, table) for definition in of.values())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
