"""Reads and writes the topic `swarms`, which has one writer at a time.

A new writer first fences the writer before it, then reads the last record, then appends records in transactions. Each
record is both a result and its checkpoint, so the last record holds the complete state.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kafka import TopicPartition

from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError, OutcomeUnknownError
from emostream.model import DEAD_LETTER_TOPIC, REACTIONS_TOPIC, SWARMS_TOPIC, Swarm, encode
from emostream.runtime.kafka import (
    abandon,
    admin_client,
    explained_errors,
    last_record,
    log_reader,
    transactional_producer,
)
from emostream.swarms.rules import ReactionsTopic, read_record

# Every writer of `swarms` uses this transactional id. So the broker refuses all of them except the newest.
TRANSACTIONAL_ID = "emostream-aggregator"

_SWARMS = TopicPartition(SWARMS_TOPIC, 0)


@dataclass(frozen=True)
class DeadLetter:
    """A record of `reactions` that is not a list of reactions. `value` is its beginning; `size` is its full length."""

    partition: int
    offset: int
    reason: str
    size: int
    value: bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of the dead letter's record: the position of the bad record and the reason, as text."""
        fields = {"partition": self.partition, "offset": self.offset, "reason": self.reason, "size": self.size}
        return [(name, str(value).encode()) for name, value in fields.items()]


class SwarmLog:
    """The one writer of `swarms`. A new instance fences every earlier writer, whose next write then fails.

    Raises EmoStreamError if the brokers refuse it.
    """

    def __init__(self, settings: KafkaSettings, transaction_timeout_ms: int) -> None:
        self._settings = settings
        self._producer = transactional_producer(settings, TRANSACTIONAL_ID, transaction_timeout_ms)
        try:
            with explained_errors(settings.bootstrap_servers):
                self._producer.init_transactions()
        except EmoStreamError:
            self.close()
            raise

    def last(self) -> Swarm | None:
        """Return the last swarm, or None if the topic is empty. Raises like `last_swarm`.

        No earlier writer can append any more, so only this writer can add a swarm after it.
        """
        return last_swarm(self._settings)

    def append(self, swarm: Swarm, dead_letters: Iterable[DeadLetter] = ()) -> None:
        """Write a swarm and the dead letters of its batch in one transaction: all of them, or none.

        Raises OutcomeUnknownError after any failure. The swarm may be written nevertheless, so the caller must not
        write again. Kafka's client has no time-out for a commit, so the caller must also watch the time.
        """
        try:
            self._producer.begin_transaction()
            for letter in dead_letters:
                self._producer.send(DEAD_LETTER_TOPIC, letter.value, headers=letter.headers())
            self._producer.send(SWARMS_TOPIC, encode(swarm), partition=0)
            self._producer.commit_transaction()
        except Exception as error:
            raise OutcomeUnknownError(f"swarm {swarm.id} may or may not be written ({error!r})") from error

    def close(self) -> None:
        """Close the connections. Readers never see an uncommitted swarm."""
        abandon(self._producer, timeout_seconds=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def last_swarm(settings: KafkaSettings) -> Swarm | None:
    """Return the last committed swarm, or None if the topic is empty.

    Raises EmoStreamError if the topic is missing, or if an open transaction hides its end. Raises NotASwarmError if the
    last record is not a swarm.
    """
    brokers = settings.bootstrap_servers
    with log_reader(brokers, settings.max_record_bytes) as reader, explained_errors(brokers):
        if not reader.partitions_for_topic(SWARMS_TOPIC):
            raise no_topic(SWARMS_TOPIC)
        record = last_record(reader, _SWARMS)
    return None if record is None else read_record(record.value)


def no_topic(name: str) -> EmoStreamError:
    """Return the error for a missing topic."""
    return EmoStreamError(f"there is no topic {name}: run `emostream topics apply`.")


def describe_reactions(settings: KafkaSettings) -> ReactionsTopic:
    """Ask the brokers for the current state of `reactions`. Raises EmoStreamError if the topic is missing."""
    brokers = settings.bootstrap_servers
    with admin_client(brokers) as admin, explained_errors(brokers):
        (topic,) = admin.describe_topics([REACTIONS_TOPIC])
    if topic["error_code"]:
        raise no_topic(REACTIONS_TOPIC)
    numbers = sorted(partition["partition_index"] for partition in topic["partitions"])
    partitions = [TopicPartition(REACTIONS_TOPIC, number) for number in numbers]
    with log_reader(brokers, settings.max_record_bytes) as reader, explained_errors(brokers):
        beginnings, ends = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
    return ReactionsTopic(
        id=str(topic["topic_id"]),
        beginnings={partition.partition: beginnings[partition] for partition in partitions},
        ends={partition.partition: ends[partition] for partition in partitions},
    )
