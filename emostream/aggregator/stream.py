"""Spark's streaming query over one topic of Kafka: micro-batches, from given offsets on."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from emostream.config import KafkaSettings

OnBatch = Callable[[DataFrame, int], None]
"""Called with the rows of a micro-batch, as Spark's Kafka source has them, headers included, and with its number."""


@dataclass(frozen=True)
class Plan:
    """What is read: a topic from these offsets on, by partition, and so many records in a micro-batch at most.

    With a trigger of 0 each batch follows the one before at once. `checkpoint` is an empty folder of the query's own.
    """

    topic: str
    offsets: Mapping[int, int]
    max_records: int
    trigger_ms: int
    checkpoint: Path


def start(spark: SparkSession, kafka: KafkaSettings, plan: Plan, on_batch: OnBatch) -> StreamingQuery:
    """Have `on_batch` called for one micro-batch after the other, in a thread of Spark's, as records come."""
    batches = spark.readStream.format("kafka").options(**_options(kafka, plan)).load().writeStream
    return (
        batches.foreachBatch(on_batch)
        # Hadoop takes the path as it stands: with a space as %20 it would name another folder.
        .option("checkpointLocation", f"file://{plan.checkpoint}")
        .trigger(processingTime=f"{plan.trigger_ms} milliseconds")
        .start()
    )


def _options(kafka: KafkaSettings, plan: Plan) -> dict[str, str]:
    return {
        "kafka.bootstrap.servers": ",".join(kafka.bootstrap_servers),
        "kafka.isolation.level": "read_committed",
        # A batch reads only what is there. Yet each read leaves a fetch of what comes next behind it, and the broker
        # answers nothing else on that connection until this one has found a record or waited so long (0.5 s else).
        "kafka.fetch.max.wait.ms": "1",
        "subscribe": plan.topic,
        "includeHeaders": "true",
        "startingOffsets": json.dumps({plan.topic: plan.offsets}),
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(plan.max_records),
    }
