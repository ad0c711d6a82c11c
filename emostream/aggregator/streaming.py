"""Starts a Spark streaming query that reads one Kafka topic in micro-batches from given offsets."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from emostream.config import KafkaSettings
from emostream.runtime import tls

# A broker whose host is dead answers nothing, and Java cannot have the kernel notice that, so time-outs must. None is
# longer than Kafka takes to elect other leaders (5 to 8 s). What is given up is tried again.
_DEAD_BROKER = {
    # For the driver's AdminClient and the executors' consumers. The defaults are 30 s, 10 s and 30 s.
    "kafka.request.timeout.ms": "5000",
    "kafka.socket.connection.setup.timeout.ms": "2000",
    "kafka.socket.connection.setup.timeout.max.ms": "4000",
    # While a connection is being made, a Java client asks nobody who leads now. It must have the time to do so before
    # it tries a dead leader again: with the default of 50 ms it tried five times, for 19 s.
    "kafka.reconnect.backoff.ms": "1000",
    "kafka.reconnect.backoff.max.ms": "1000",
    # The AdminClient waits for a former leader until this time is over (by default 60 s), even if there is another one.
    # Then Spark makes a new AdminClient, so many times. A consumer's task fails then, and Spark tries it again as well
    # (`spark.task.maxFailures`).
    "kafka.default.api.timeout.ms": "5000",
    "fetchOffset.numRetries": "10",
}

OnBatch = Callable[[DataFrame, int], None]
"""Called with the rows of a micro-batch and its number. The rows have the columns of Spark's Kafka source."""


@dataclass(frozen=True)
class QueryOptions:
    """What a query reads: the topic, the first offset by partition, and the most records in a micro-batch.

    With a trigger of 0, each batch starts as soon as the one before ends. `checkpoint` is an empty folder that only
    this query uses.
    """

    topic: str
    offsets: Mapping[int, int]
    max_records: int
    trigger_ms: int
    checkpoint: Path


def start(spark: SparkSession, kafka: KafkaSettings, options: QueryOptions, on_batch: OnBatch) -> StreamingQuery:
    """Start the query. Spark calls `on_batch` for one micro-batch after the other, in a thread of its own."""
    batches = spark.readStream.format("kafka").options(**_source_options(kafka, options)).load().writeStream
    return (
        batches.foreachBatch(on_batch)
        # Hadoop does not decode the path. A space that is encoded as %20 would name another folder.
        .option("checkpointLocation", f"file://{options.checkpoint}")
        .trigger(processingTime=f"{options.trigger_ms} milliseconds")
        .start()
    )


def _source_options(kafka: KafkaSettings, options: QueryOptions) -> dict[str, str]:
    return {
        "kafka.bootstrap.servers": ",".join(kafka.bootstrap_servers),
        "kafka.isolation.level": "read_committed",
        **_DEAD_BROKER,
        **{f"kafka.{name}": value for name, value in tls.java_properties().items()},
        # A batch reads only records that exist. But after each read, the consumer also asks for the next records. The
        # broker answers nothing else on that connection until it finds a record or this time is over (default: 0.5 s).
        "kafka.fetch.max.wait.ms": "1",
        "subscribe": options.topic,
        "includeHeaders": "true",
        "startingOffsets": json.dumps({options.topic: options.offsets}),
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(options.max_records),
    }
