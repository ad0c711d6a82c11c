"""Kafka as every tier uses it: producers that lose nothing, a reader of one ordered log, and its last record.

kafka-python's defaults are neither safe nor patient enough for us; the differences are set here, once.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError

# Longer than any outage: a batch that expires while it is retried leaves a gap in the producer's sequence numbers,
# after which every later send fails. Whoever waits for an acknowledgement has a deadline of his own.
_FOREVER_MS = 2**31 - 1
_RECONNECT_MS = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 1_000, "retry_backoff_ms": 20}
_BOOTSTRAP_TIMEOUT_MS = 30_000


def durable_producer(settings: KafkaSettings, bootstrap_servers: Sequence[str] = (), **more: Any) -> KafkaProducer:
    """An idempotent producer: a record it acknowledges is in all in-sync replicas, once, in the order of sending.

    It never gives up on a record, and has no bound on what it holds: the caller bounds what is in flight.
    Raises EmoStreamError when no broker answers.
    """
    return _connect(
        KafkaProducer,
        bootstrap_servers or settings.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=_FOREVER_MS,
        request_timeout_ms=10_000,
        max_request_size=settings.max_record_bytes,
        allow_auto_create_topics=False,
        metrics_enabled=False,
        **_RECONNECT_MS,
        **more,
    )


def abandon(producer: KafkaProducer, timeout_seconds: float) -> None:
    """End a producer in whatever state it is: what it still holds after the time-out fails, so that each send ends."""
    try:
        producer.close(timeout=timeout_seconds)
    except Exception:
        # It stops closing where a record is left, and has no other way to give that record up.
        producer._sender.force_close()
        producer._sender.join(timeout_seconds)


@contextlib.contextmanager
def abandoned_at_end(producer: KafkaProducer, timeout_seconds: float) -> Iterator[KafkaProducer]:
    """Ends the producer with the block. kafka-python's own `with` waits for every record, and so perhaps for ever."""
    try:
        yield producer
    finally:
        abandon(producer, timeout_seconds)


def transactional_producer(settings: KafkaSettings, transactional_id: str, timeout_ms: int) -> KafkaProducer:
    """A producer whose init_transactions() fences any earlier one of the same id. Raises EmoStreamError as above."""
    return durable_producer(settings, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)


def log_reader(bootstrap_servers: Sequence[str], max_record_bytes: int, **more: Any) -> KafkaConsumer:
    """A consumer of committed records that belongs to no group, commits nothing and never jumps over a gap silently.

    Assign and seek it before polling; a position outside the log raises OffsetOutOfRangeError from poll().
    Raises EmoStreamError when no broker answers.
    """
    return _connect(
        KafkaConsumer,
        bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        max_partition_fetch_bytes=2 * max_record_bytes,
        request_timeout_ms=10_000,
        allow_auto_create_topics=False,
        metrics_enabled=False,
        **_RECONNECT_MS,
        **more,
    )


def admin_client(bootstrap_servers: Sequence[str]) -> KafkaAdminClient:
    """What makes and describes topics. Raises EmoStreamError when no broker answers."""
    return _connect(KafkaAdminClient, bootstrap_servers, request_timeout_ms=10_000)


@contextlib.contextmanager
def explained_errors(bootstrap_servers: Sequence[str]) -> Iterator[None]:
    """Turns a broker's refusal or silence in this block into an EmoStreamError."""
    try:
        yield
    except KafkaError as error:
        raise EmoStreamError(
            f"the brokers of {','.join(bootstrap_servers)} did not do what they were asked ({error}): is "
            "kafka.service active on all of them, and are there as many as the settings require?"
        ) from error


def last_record(reader: KafkaConsumer, partition: TopicPartition, timeout_seconds: float = 30) -> Any | None:
    """The last committed record of a partition, or None where it holds none; the reader ends up behind it.

    Control records (commits, aborts) and aborted records take offsets too, so the search steps back from the end, twice
    as far each time. Raises EmoStreamError when an open transaction keeps the end from being read in time.
    """
    reader.assign([partition])
    beginning = reader.beginning_offsets([partition])[partition]
    # Uncommitted records at the end count too: reading must wait until each is committed or aborted.
    end = _end_of_log(reader, partition)
    step = 8
    while True:
        start = max(beginning, end - step)
        found = None
        for found in records_until(reader, partition, start, end, timeout_seconds):  # noqa: B007
            pass
        if found is not None or start == beginning:
            return found
        step *= 2


def _end_of_log(reader: KafkaConsumer, partition: TopicPartition) -> int:
    offset: int = reader.end_offsets([partition])[partition]
    return offset


def records_until(
    reader: KafkaConsumer, partition: TopicPartition, start: int, end: int, timeout_seconds: float
) -> Iterator[Any]:
    """The committed records from `start` until the position is at `end` or past it; the reader is assigned to it.

    The last fetch may reach past the end. Raises EmoStreamError when that takes too long.
    """
    deadline = time.monotonic() + timeout_seconds
    reader.seek(partition, start)
    while reader.position(partition) < end:
        if time.monotonic() > deadline:
            raise EmoStreamError(
                f"{partition.topic} could not be read to its end in {timeout_seconds:g} s: is a transaction still "
                "open, or a broker down?"
            )
        for batch in reader.poll(timeout_ms=200).values():
            yield from batch


def _connect(client: Any, bootstrap_servers: Sequence[str], **options: Any) -> Any:
    try:
        return client(bootstrap_servers=list(bootstrap_servers), bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS, **options)
    except (KafkaError, OSError) as error:
        raise EmoStreamError(
            f"no broker of {','.join(bootstrap_servers)} answered in {_BOOTSTRAP_TIMEOUT_MS // 1000} s ({error}); "
            "is kafka.service active, and is EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error
