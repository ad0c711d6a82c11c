"""Consumes the swarms of the cluster's topic in a thread of its own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from emostream import model
from emostream.config import KafkaSettings, SubscriberSettings
from emostream.errors import EmoStreamError
from emostream.runtime import logs
from emostream.runtime.kafka import last_record, log_reader
from emostream.runtime.readiness import Readiness
from emostream.subscriber import frames, metrics
from emostream.subscriber.history import Entry

log = logs.get(__name__)

CONDITION = "kafka"
_POLL_MS = 200
_PROBE_SECONDS = 2.0
_PROBE_TIMEOUT_MS = 3_000
_RETRY_SECONDS = 1.0

# Processes the next swarm of the topic, with the totals of all emoji, and returns when it is done. So at most one swarm
# is in progress, and the rest waits in Kafka.
# `parts` are the events other than `main`.
Sink = Callable[[Entry, model.Counts, Mapping[str, model.EventPart]], None]


class SwarmConsumer:
    """Passes each swarm of the topic to `sink`: first those of the last minutes, to fill the history, then new ones.

    It keeps running through all faults. While Kafka does not answer, or the topic is missing or empty, it tries again,
    and `readiness` shows the reason. If the topic was trimmed or recreated, it reads the state again. It may pass a
    swarm more than once, or leave a gap; the history detects both.
    """

    def __init__(self, settings: SubscriberSettings, kafka: KafkaSettings, readiness: Readiness, sink: Sink) -> None:
        self._bootstrap_servers = settings.bootstrap_servers or kafka.bootstrap_servers
        self._topic = settings.cluster
        self._partition = TopicPartition(settings.cluster, 0)
        self._max_record_bytes = kafka.max_record_bytes
        self._history_seconds = settings.history_seconds
        self._readiness = readiness
        self._sink = sink
        self._stop = threading.Event()

    def stop(self) -> None:
        """Pass no more swarms. `run` returns as soon as its current call to Kafka returns."""
        self._stop.set()

    def run(self) -> None:
        """Read the topic until `stop` is called."""
        while not self._stop.is_set():
            try:
                with log_reader(self._bootstrap_servers, self._max_record_bytes) as reader:
                    self._follow(reader)
            except OffsetOutOfRangeError:
                metrics.LOST_POSITIONS.inc()
                self._not_ready(f"{self._topic} was trimmed or recreated; its state is being read again")
            except (KafkaError, EmoStreamError) as error:
                self._not_ready(f"{self._topic} cannot be read: {error!r}")
                self._stop.wait(_RETRY_SECONDS)

    def _follow(self, reader: KafkaConsumer) -> None:
        caught_up_at = self._go_back(reader)
        is_answered, probe_at = True, 0.0
        while not self._stop.is_set():
            records = reader.poll(timeout_ms=_POLL_MS).get(self._partition, [])
            if records:
                self._hand_over(records)
                is_answered = True
            elif time.monotonic() >= probe_at:
                is_answered = self._probe(reader)
                probe_at = time.monotonic() + _PROBE_SECONDS
            if is_answered and reader.position(self._partition) >= caught_up_at:
                self._readiness.met(CONDITION)

    def _go_back(self, reader: KafkaConsumer) -> int:
        """Seek to the start of the history, or to the last record if that is older.

        Returns the offset after the last record.
        """
        while (last := last_record(reader, self._partition)) is None:
            self._not_ready(f"{self._topic} is empty; is emostream-publisher@{self._topic} active?")
            if self._stop.wait(_RETRY_SECONDS):
                return 0
        # Count back from the record's timestamp, because this machine's clock may differ from the broker's.
        since_ms = last.timestamp - self._history_seconds * 1_000
        found = reader.offsets_for_times({self._partition: since_ms})[self._partition]
        reader.seek(self._partition, min(found.offset, last.offset) if found is not None else last.offset)
        after_last: int = last.offset + 1
        return after_last

    def _probe(self, reader: KafkaConsumer) -> bool:
        """Return whether Kafka answers.

        poll() returns the same for an idle topic as for an absent broker, so this asks for the end offset.
        """
        try:
            reader.end_offsets([self._partition], timeout_ms=_PROBE_TIMEOUT_MS)
        except KafkaError as error:
            self._not_ready(f"no broker of {','.join(self._bootstrap_servers)} answers ({error!r})")
            return False
        return True

    def _hand_over(self, records: Sequence[Any]) -> None:
        received_ms = _now_ms()
        for record in records:
            if self._stop.is_set():
                return
            try:
                swarm = model.decode_swarm(record.value or b"")
                entry = _entry(swarm, record, received_ms)
            except (msgspec.DecodeError, ValueError, KeyError) as error:
                metrics.UNREADABLE.inc()
                log.error(
                    "a record is not a swarm and is skipped", topic=self._topic, offset=record.offset, error=repr(error)
                )
                continue
            self._sink(entry, swarm.totals, swarm.parts)

    def _not_ready(self, reason: str) -> None:
        self._readiness.not_met(CONDITION, reason)


def read_record(record: Any, received_ms: int) -> tuple[Entry, model.Counts]:
    """Decode a record of a cluster's topic. Returns the entry for the history and the totals of all emoji.

    Raises msgspec.DecodeError, ValueError or KeyError if the record is not a swarm or contradicts itself.
    """
    swarm = model.decode_swarm(record.value or b"")
    return _entry(swarm, record, received_ms), swarm.totals


def _entry(swarm: model.Swarm, record: Any, received_ms: int) -> Entry:
    position = model.parse_message_id(swarm.id)
    if position is None or position[1] != swarm.sequence:
        raise ValueError(f"the id {swarm.id!r} is not that of sequence {swarm.sequence}")
    swarms_timestamp = dict(record.headers).get("swarms-timestamp")
    return Entry(
        stream=position[0],
        sequence=swarm.sequence,
        frames=frames.of(swarm.for_viewers()),
        window_end=swarm.window.end,
        swarms_timestamp=int(swarms_timestamp) if swarms_timestamp is not None else None,
        cluster_timestamp=record.timestamp,
        received_timestamp=received_ms,
        counted=swarm.progress.offsets if isinstance(swarm.progress, model.Progress) else {},
        window_start=swarm.window.start,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
