"""The topic `swarms` as its one writer uses it: fence whoever wrote before, read back, then append atomically.

Each record is a result and the checkpoint of it in one, so whoever has read the last one knows all there is to know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kafka import TopicPartition

from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError, OutcomeUnknownError
from emostream.model import DEAD_LETTER_TOPIC, REACTIONS_TOPIC, SWARMS_TOPIC, Swarm, encode
from emostream.runtime.kafka import abandon, admin_client, asking, last_record, log_reader, transactional_producer
from emostream.swarms.rules import ReactionsTopic, read_record

# Whoever writes to `swarms` writes under this id, so that the broker lets the newest one write alone.
TRANSACTIONAL_ID = "emostream-aggregator"

_SWARMS = TopicPartition(SWARMS_TOPIC, 0)


@dataclass(frozen=True)
class DeadLetter:
    """A record of `reactions` that is no list of reactions; `value` is its beginning, of `size` bytes in all."""

    partition: int
    offset: int
    reason: str
    size: int
    value: bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """Where it was and what was wrong with it, as text."""
        fields = {"partition": self.partition, "offset": self.offset, "reason": self.reason, "size": self.size}
        return [(name, str(value).encode()) for name, value in fields.items()]


class SwarmLog:
    """The one writer of `swarms`: making it fences any earlier one, whose next write then fails.

    Raises EmoStreamError where the brokers do not let it.
    """

    def __init__(self, settings: KafkaSettings, transaction_timeout_ms: int) -> None:
        self._settings = settings
        self._producer = transactional_producer(settings, TRANSACTIONAL_ID, transaction_timeout_ms)
        try:
            with asking(settings.bootstrap_servers):
                self._producer.init_transactions()
        except EmoStreamError:
            self.close()
            raise

    def last(self) -> Swarm | None:
        """The last swarm, None where the topic is empty. Only here is it sure to stay the last one: no earlier writer
        can add to it any more. Raises as `last_swarm`."""
        return last_swarm(self._settings)

    def append(self, swarm: Swarm, dead_letters: Iterable[DeadLetter] = ()) -> None:
        """Write a swarm and the records that were set aside on its way: all of them, or none.

        Raises OutcomeUnknownError when that failed in any way. It may have been written nevertheless, so the caller
        must not write again. Kafka's client has no time-out for a commit: the caller watches the time as well.
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
        """Let go of the connections. What was not committed is never seen."""
        abandon(self._producer, timeout_seconds=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def last_swarm(settings: KafkaSettings) -> Swarm | None:
    """The last swarm that was committed so far, or None where the topic is empty.

    Raises EmoStreamError where there is no topic or an open transaction hides its end, NotASwarmError.
    """
    brokers = settings.bootstrap_servers
    with log_reader(brokers, settings.max_record_bytes) as reader, asking(brokers):
        if not reader.partitions_for_topic(SWARMS_TOPIC):
            raise no_topic(SWARMS_TOPIC)
        record = last_record(reader, _SWARMS)
    return None if record is None else read_record(record.value)


def no_topic(name: str) -> EmoStreamError:
    """What to raise where a topic is missing."""
    return EmoStreamError(f"there is no topic {name}: run `emostream topics apply`.")


def describe_reactions(settings: KafkaSettings) -> ReactionsTopic:
    """What the brokers say of `reactions` now. Raises EmoStreamError where there is none."""
    brokers = settings.bootstrap_servers
    with admin_client(brokers) as admin, asking(brokers):
        (topic,) = admin.describe_topics([REACTIONS_TOPIC])
    if topic["error_code"]:
        raise no_topic(REACTIONS_TOPIC)
    numbers = sorted(partition["partition_index"] for partition in topic["partitions"])
    partitions = [TopicPartition(REACTIONS_TOPIC, number) for number in numbers]
    with log_reader(brokers, settings.max_record_bytes) as reader, asking(brokers):
        beginnings, ends = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
    return ReactionsTopic(
        id=str(topic["topic_id"]),
        beginnings={partition.partition: beginnings[partition] for partition in partitions},
        ends={partition.partition: ends[partition] for partition in partitions},
    )
