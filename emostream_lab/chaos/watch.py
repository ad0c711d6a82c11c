"""Reads every topic during a chaos run, and writes invalid records into `reactions`, each in a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from emostream import model
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.runtime import kafka
from emostream_lab.chaos.junk import JUNK
from emostream_lab.chaos.trail import Trail

_SWARMS = TopicPartition(model.SWARMS_TOPIC, 0)
_DEAD_LETTERS = TopicPartition(model.DEAD_LETTER_TOPIC, 0)
_POLL_MS = 250
# The broker collects the records of this time and answers once, instead of once for each record.
_AT_LEISURE = {"fetch_min_bytes": 1 << 20, "fetch_max_wait_ms": _POLL_MS}
_RETRY_SECONDS = 1.0
_BETWEEN_JUNK_SECONDS = 15.0
# A dead letter contains a record of up to this size in full.
_MAX_JUNK_BYTES = 4_096
_JUNK = [record for record in JUNK if len(record) <= _MAX_JUNK_BYTES]


class Watch:
    """Reads all records after the current last swarm into a trail, and continues after outages of the broker.

    Raises EmoStreamError if Kafka does not answer at the start, or `swarms` is empty.
    """

    def __init__(self, settings: KafkaSettings, clusters: Sequence[str], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._over = threading.Event()
        with self._reader() as reader:
            last = kafka.last_record(reader, _SWARMS)
            if last is None:
                raise EmoStreamError(
                    f"{model.SWARMS_TOPIC} is empty: `emostream topics apply` writes its first record."
                )
            self.trail = Trail(model.decode_swarm(last.value), clusters, clock)
            relayed = [TopicPartition(cluster, 0) for cluster in clusters]
            numbers = sorted(reader.partitions_for_topic(model.REACTIONS_TOPIC))
        self._reactions = [TopicPartition(model.REACTIONS_TOPIC, number) for number in numbers]
        self._positions: dict[TopicPartition, int] = {
            _SWARMS: last.offset + 1,
            **{partition: self.trail.position(partition.partition) for partition in self._reactions},
            # The broker belongs to this run, so no record at the beginning was deleted.
            **dict.fromkeys([*relayed, _DEAD_LETTERS], 0),
        }
        self._thread = ThreadPoolExecutor(1, "watch")
        self._reading = self._thread.submit(self._read_all)

    def ends(self) -> Mapping[TopicPartition, int]:
        """Return the current end offset of each partition. Raises EmoStreamError if Kafka does not answer."""
        with self._reader() as reader, kafka.explained_errors(self._settings.bootstrap_servers):
            found: dict[TopicPartition, int] = reader.end_offsets(list(self._positions))
            return found

    def has_read(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether each partition was read up to `ends`. Raises the error that ended the reading, if any."""
        if self._reading.done():
            self._reading.result()
        return all(self._positions[partition] >= end for partition, end in ends.items())

    def stop(self) -> None:
        """Stop reading."""
        self._over.set()
        self._thread.shutdown()

    def _read_all(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(KafkaError, EmoStreamError), self._reader() as reader:
                reader.assign(list(self._positions))
                for partition, offset in self._positions.items():
                    reader.seek(partition, offset)
                while not self._over.is_set():
                    self._take(reader.poll(timeout_ms=_POLL_MS))
                    self._advance(reader)
            self._over.wait(_RETRY_SECONDS)

    def _take(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        for partition, records in batches.items():
            for record in records:
                if partition == _SWARMS:
                    self.trail.read_swarm(model.decode_swarm(record.value))
                elif partition == _DEAD_LETTERS:
                    self.trail.read_dead_letter(record.value)
                elif partition.topic == model.REACTIONS_TOPIC:
                    self.trail.read_reactions(partition.partition, record.offset, record.value)
                else:
                    self.trail.read_relayed(partition.topic, model.decode_swarm(record.value))
                self._positions[partition] = record.offset + 1

    def _advance(self, reader: KafkaConsumer) -> None:
        """Move past the ends of transactions, which have offsets but no records."""
        for partition in self._positions:
            self._positions[partition] = reader.position(partition)
        for partition in self._reactions:
            self.trail.read_up_to(partition.partition, self._positions[partition])

    def _reader(self) -> KafkaConsumer:
        return kafka.log_reader(self._settings.bootstrap_servers, self._settings.max_record_bytes, **_AT_LEISURE)


class Junk:
    """Writes invalid records into `reactions`, one at a time, and continues after outages of the broker."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._over = threading.Event()
        self.put: list[bytes] = []
        """The records that the broker acknowledged."""
        self.unknown: list[bytes] = []
        """The records whose outcome is unknown: the topic may have them or not."""
        self._thread = ThreadPoolExecutor(1, "junk")
        self._putting = self._thread.submit(self._put_all)

    def stop(self) -> None:
        """Wait until the last record is acknowledged, and stop. Raises the error that ended the writing, if any."""
        self._over.set()
        self._thread.shutdown()
        self._putting.result()

    def _put_all(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(EmoStreamError):
                producer = kafka.durable_producer(self._settings)
                try:
                    self._put_with(producer)
                except KafkaError:
                    # The producer may be unusable after a failure.
                    self.unknown.append(self._next)
                finally:
                    kafka.abandon(producer, timeout_seconds=1)

    def _put_with(self, producer: Any) -> None:
        while not self._over.wait(_BETWEEN_JUNK_SECONDS):
            future = producer.send(model.REACTIONS_TOPIC, self._next)
            while not future.is_done:
                with contextlib.suppress(KafkaTimeoutError):
                    future.get(timeout=_RETRY_SECONDS)
            future.get()
            self.put.append(self._next)

    @property
    def _next(self) -> bytes:
        return _JUNK[(len(self.put) + len(self.unknown)) % len(_JUNK)]
