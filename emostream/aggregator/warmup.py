"""Warms up Spark: an aggregator counts made-up records of a separate topic.

Spark's JVMs compile their code while it runs, so the first batches take several times as long as later ones. Without
a warm-up, viewers would wait for them. The warm-up runs every step: the Kafka reader, the micro-batches, and the
count.
"""

import threading
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from emostream import model
from emostream.aggregator import query, streaming
from emostream.aggregator.session import check_executors
from emostream.aggregator.streaming import QueryOptions
from emostream.config import AggregatorSettings, KafkaSettings
from emostream.errors import EmoStreamError
from emostream.model import COUNTS_HEADER, WARMUP_TOPIC, Reaction
from emostream.runtime import logs
from emostream.runtime.kafka import abandoned_at_end, durable_producer, explained_errors, log_reader
from emostream.swarms.log import no_topic

log = logs.get(__name__)

# About as many records as one ingest writes in a quarter of a second, at 1,000 reactions/s.
_RECORDS_PER_BATCH = 50
# More batches than the time limit allows.
_BATCHES = 60
# Each batch of the warm-up delays the first swarm. In measurements, batches became shorter for about this long after
# the first batch, which takes longer than all others together.
_SECONDS = 4.0
# A reaction waits for half a trigger on average, and then for the batch. So a batch should take only this part of a
# trigger.
_PART_OF_TRIGGER = 1 / 4
# Even on a very busy machine, Spark finishes a batch within this time. If it does not, it never will.
_TIMEOUT_SECONDS = 240.0
_WRITE_SECONDS = 30.0
_CLOSE_SECONDS = 1.0
_POLL_SECONDS = 0.05

_VALUE = model.encode([Reaction("warm-up", "🔥", 0)] * 2)
_HEADERS = [(COUNTS_HEADER, model.encode({"🔥": 2}))]


def warm_up(
    spark: SparkSession,
    settings: AggregatorSettings,
    kafka: KafkaSettings,
    checkpoint: Path,
    until: threading.Event | None = None,
) -> None:
    """Count made-up records until a batch takes only a small part of a trigger.

    It stops early after a few seconds, or when the event `until` is set. `checkpoint` is an empty folder that nothing
    else uses. Raises EmoStreamError if the topic is missing, or if Spark cannot count.
    """
    options = QueryOptions(WARMUP_TOPIC, _write_records(kafka), _RECORDS_PER_BATCH, trigger_ms=0, checkpoint=checkpoint)
    timer = _BatchTimer(_PART_OF_TRIGGER * settings.trigger_ms / 1_000, until or threading.Event())
    running = streaming.start(spark, kafka, options, timer)
    began = time.monotonic()
    try:
        while not timer.is_done.wait(_POLL_SECONDS):
            waited_seconds = time.monotonic() - began
            check_executors(spark, settings, waited_seconds)
            if not running.isActive or waited_seconds > _TIMEOUT_SECONDS:
                reason = running.exception() or f"a batch takes longer than {_TIMEOUT_SECONDS:g} s"
                raise EmoStreamError(f"Spark could not be warmed up ({reason}): does its executor reach Kafka?")
    finally:
        running.stop()
    log.info("aggregator has warmed up", seconds=round(time.monotonic() - began, 1))


class _BatchTimer:
    """Measures batches. `is_done` is set once one takes no longer than `limit_seconds`, or the time is over."""

    def __init__(self, limit_seconds: float, until: threading.Event) -> None:
        self.is_done = threading.Event()
        self._until = until
        self._limit_seconds = limit_seconds
        self._left = _BATCHES
        self._ended = time.monotonic()
        self._deadline: float | None = None

    def __call__(self, frame: DataFrame, _: int) -> None:
        # The query stops between two batches. If it stopped within a batch, Spark would log long errors.
        if self.is_done.is_set():
            return
        query.count(frame, _RECORDS_PER_BATCH)
        self._left -= 1
        now = time.monotonic()
        seconds, self._ended = now - self._ended, now
        self._deadline = self._deadline or now + _SECONDS
        if seconds <= self._limit_seconds or now > self._deadline or not self._left or self._until.is_set():
            self.is_done.set()


def _write_records(kafka: KafkaSettings) -> dict[int, int]:
    """Write the records for the warm-up. Returns the offset of the first record by partition."""
    brokers = kafka.bootstrap_servers
    with log_reader(brokers, kafka.max_record_bytes) as reader, explained_errors(brokers):
        partitions = sorted(reader.partitions_for_topic(WARMUP_TOPIC) or ())
    if not partitions:
        raise no_topic(WARMUP_TOPIC)
    with abandoned_at_end(durable_producer(kafka), _CLOSE_SECONDS) as producer, explained_errors(brokers):
        first = {partition: producer.send(WARMUP_TOPIC, _VALUE, partition=partition) for partition in partitions}
        for number in range(_BATCHES * _RECORDS_PER_BATCH):
            # Most records have the counts header, as ingest writes it. Some do not, as from other writers.
            headers = _HEADERS if number % 10 else []
            producer.send(WARMUP_TOPIC, _VALUE, headers=headers, partition=partitions[number % len(partitions)])
        producer.flush(_WRITE_SECONDS)
        return {partition: sent.get(0).offset for partition, sent in first.items()}
