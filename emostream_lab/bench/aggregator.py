"""Measures the aggregator on two cores, beside Kafka: catching up after an outage, then small and frequent batches."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from emostream import config, palette
from emostream.client.connection import fetch
from emostream.config import AggregatorSettings
from emostream.errors import EmoStreamError
from emostream.ingest.groups import Group
from emostream.ingest.validation import parse
from emostream.model import MAIN, REACTIONS_TOPIC, SWARMS_TOPIC, Swarm
from emostream.registry import live
from emostream.runtime import request_ids
from emostream.runtime.kafka import durable_producer, log_reader
from emostream.swarms.rules import progress_of, read_record
from emostream_lab.bench import servers
from emostream_lab.bench.figures import Figure, Findings, Growth, quantile
from emostream_lab.bench.ingest import batches
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.processes.servers import HOST

TIERS = ("zookeeper", "kafka", "topics")
# A small batch ends before the next one begins, so that each has the intended size.
TRIGGER_MS = 500
# The outage: for ten minutes, an audience sends 20,000 reactions a second, in records like those of ingest.
OUTAGE_SECONDS = 600
RECORDS_PER_SECOND = 200
REACTIONS_PER_RECORD = 100
# The small batches.
REACTIONS_PER_SMALL_BATCH = 2_000
REACTIONS_PER_SMALL_RECORD = 20
_SEND_SECONDS = 0.01
_MAX_RECORDS_IN_FLIGHT = 2_000
_TIMEOUT_SECONDS = 180
_PART = "aggregator"


@dataclass(frozen=True)
class _Counted:
    """A swarm as it is in its topic. The work on its batch began at the end of its window."""

    swarm: Swarm
    written_ms: int

    @property
    def work_ms(self) -> int:
        return self.written_ms - self.swarm.window.end


class _Swarms:
    """Follows the topic `swarms` from its start."""

    def __init__(self, reader: KafkaConsumer) -> None:
        self._reader = reader
        partition = TopicPartition(SWARMS_TOPIC, 0)
        reader.assign([partition])
        reader.seek(partition, 0)

    def read_until(self, total: int) -> list[_Counted]:
        """Return the next swarms, until `total` reactions are counted in all.

        Raises EmoStreamError if that takes longer than `_TIMEOUT_SECONDS`.
        """
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        found: list[_Counted] = []
        while not found or sum(found[-1].swarm.totals.values()) < total:
            if time.monotonic() > deadline:
                raise EmoStreamError(f"the aggregator had not counted {total:,} reactions in {_TIMEOUT_SECONDS} s.")
            for records in self._reader.poll(timeout_ms=200).values():
                found.extend(_Counted(read_record(record.value), record.timestamp) for record in records)
        return found


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure catching up and small batches."""
    outage_seconds, small_seconds = (100, 10) if quick else (OUTAGE_SECONDS, 30)
    with (
        servers.running_tiers(directory, TIERS, tell, trigger_ms=TRIGGER_MS) as tiers,
        durable_producer(tiers.kafka) as producer,
    ):
        records = outage_seconds * RECORDS_PER_SECOND
        missed = records * REACTIONS_PER_RECORD
        tell(f"an outage of {outage_seconds} s leaves {missed:,} reactions uncounted")
        _send(producer, records)
        with (
            servers.running_more(tiers, "aggregator", tell) as running,
            log_reader(tiers.kafka.bootstrap_servers, tiers.kafka.max_record_bytes) as reader,
        ):
            swarms = _Swarms(reader)
            caught_up = swarms.read_until(missed)
            before = _batch_seconds(running)
            tell(f"small batches for {small_seconds} s")
            sent = _send_evenly(producer, small_seconds)
            small = swarms.read_until(missed + sent)
            after = _batch_seconds(running)
    work_ms = 1_000 * (after[0] - before[0]) / (after[1] - before[1])
    return _findings(caught_up, small, work_ms, quick=quick)


def _findings(caught_up: Sequence[_Counted], small: Sequence[_Counted], work_ms: float, *, quick: bool) -> Findings:
    growth = Growth("aggregator", "past batches", "time of a batch", _by_past_batches(small))
    figures = [*_catch_up_figures(caught_up), *_small_figures(small, work_ms), _growth_figure(growth)]
    if quick:
        # The JVM still compiles the code that the batches run, so their times show the compiler. Their sizes do not.
        figures = [figure if figure.unit == "records" else figure.unjudged() for figure in figures]
    return Findings(figures=figures, growth=[growth])


def _send(producer: KafkaProducer, number: int) -> None:
    records = _written_by_ingest(REACTIONS_PER_RECORD)
    for sent in range(number):
        value, headers = records[sent % len(records)]
        producer.send(REACTIONS_TOPIC, value, headers=headers)
        # Without this limit, the producer would buffer all records at once.
        if sent % _MAX_RECORDS_IN_FLIGHT == 0:
            producer.flush()
    producer.flush()


def _send_evenly(producer: KafkaProducer, seconds: float) -> int:
    """Send small records at the rate that makes small batches. Returns the number of reactions."""
    records = _written_by_ingest(REACTIONS_PER_SMALL_RECORD)
    per_second = REACTIONS_PER_SMALL_BATCH / REACTIONS_PER_SMALL_RECORD * 1_000 / TRIGGER_MS
    began = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - began) < seconds:
        while sent < elapsed * per_second:
            value, headers = records[sent % len(records)]
            producer.send(REACTIONS_TOPIC, value, headers=headers)
            sent += 1
        time.sleep(_SEND_SECONDS)
    producer.flush()
    return sent * REACTIONS_PER_SMALL_RECORD


def _written_by_ingest(reactions: int) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
    """Return values and headers of some records with this many reactions each, as ingest writes them.

    Each reaction came in a request of its own.
    """
    spellings = palette.accepted(("default",))
    groups = []
    for body in batches(100, reactions):
        batch = parse(body, spellings)
        requests = {MAIN: [request_ids.of(None, 1_732_370_000_123) for _ in range(reactions)]}
        groups.append(Group[None]([batch.payload], counts=Counter(batch.counts), requests=requests))
    return [(group.record(), group.headers(f"{HOST}:8000")) for group in groups]


def _batch_seconds(running: RunningTiers) -> tuple[float, int]:
    """Return the total seconds of all batches so far, commits included, and their number."""
    answer = asyncio.run(fetch(f"http://{HOST}:{running.layout.ports.aggregator}/metrics", _TIMEOUT_SECONDS))
    figures = live.figures(live.series_of(answer.body.decode()))
    return figures["emostream_aggregator_batch_seconds_sum"], int(figures["emostream_aggregator_batch_seconds_count"])


def _catch_up_figures(swarms: Sequence[_Counted]) -> Iterator[Figure]:
    """Yield the figures of catching up. The first of `swarms` is for record 0 and counts nothing."""
    first = swarms[1]
    reactions = sum(each.swarm.reactions for each in swarms)
    seconds = (swarms[-1].written_ms - first.swarm.window.end) / 1_000
    yield _figure("catching up", reactions / seconds, "reactions/s", at_least=600_000)
    intervals = [later.written_ms - earlier.written_ms for earlier, later in pairwise(swarms[1:])]
    yield _figure("catching up: longest batch", max([first.work_ms, *intervals]) / 1_000, "s")
    largest = max(_records(later) - _records(earlier) for earlier, later in pairwise(swarms))
    most = config.load(AggregatorSettings).max_records_per_trigger
    yield _figure("catching up: largest batch", largest, "records", at_most=most)


def _small_figures(swarms: Sequence[_Counted], work_ms: float) -> Iterator[Figure]:
    reactions = statistics.median(each.swarm.reactions for each in swarms)
    note = f"{reactions:,.0f} in the median"
    yield _figure(f"work of a batch of {REACTIONS_PER_SMALL_BATCH:,} reactions", work_ms, "ms", note, at_most=300)
    intervals = [later.written_ms - earlier.written_ms for earlier, later in pairwise(swarms)]
    yield _figure(f"time between swarms at a trigger of {TRIGGER_MS} ms, median", quantile(intervals, 0.5), "ms")
    yield _figure(f"time between swarms at a trigger of {TRIGGER_MS} ms, p99", quantile(intervals, 0.99), "ms")


def _by_past_batches(swarms: Sequence[_Counted]) -> dict[int, float]:
    """Return the median work in each of the eighths that end at 1/8, 2/8, 4/8 and all of the batches."""
    eighth = len(swarms) // 8
    return {
        end * eighth: statistics.median(each.work_ms for each in swarms[(end - 1) * eighth : end * eighth])
        for end in (1, 2, 4, 8)
    }


def _growth_figure(growth: Growth) -> Figure:
    return _figure("growth of a batch's time with past batches", growth.exponent, "exponent", at_most=0.1)


def _records(counted: _Counted) -> int:
    return sum(progress_of(counted.swarm).offsets.values())


def _figure(
    name: str, value: float, unit: str, note: str = "", *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    return Figure(part=_PART, name=name, value=value, unit=unit, note=note, at_least=at_least, at_most=at_most)
