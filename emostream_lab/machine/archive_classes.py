"""Writes the archives of `class_archives`, in about half a minute.

`python -m emostream_lab.machine.archive_classes` starts ZooKeeper, Kafka and Spark on free ports, and lets Spark count.
A JVM writes the classes that it has loaded when it ends.
"""

import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from emostream.aggregator import session
from emostream.aggregator.warmup import warm_up
from emostream.config import AggregatorSettings, KafkaSettings
from emostream.errors import EmoStreamError
from emostream_lab.machine import class_archives, java
from emostream_lab.machine.class_archives import ARCHIVES
from emostream_lab.machine.jars import JARS
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Ports

# The JVM of Spark writes 160 MB when it ends.
_WRITE_SECONDS = 600


def write_all() -> None:
    """Write an archive for each set of jars. Raises EmoStreamError if a server does not start or Spark cannot count."""
    shutil.rmtree(ARCHIVES, ignore_errors=True)
    ARCHIVES.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as directory:
        layout = Layout(Path(directory), Ports.free(clusters=1, subscribers_per_cluster=1))
        parts = topology.select(topology.parts(layout), ("zookeeper", "kafka", "topics"))
        for part in parts:
            part.process.environment["JDK_JAVA_OPTIONS"] = _writing(part.name)
        supervisor = Supervisor(parts, layout.directory / "topology.json", print, stop_timeout_seconds=_WRITE_SECONDS)
        try:
            supervisor.run_until(supervisor.all_ready)
            _run_spark(layout)
        finally:
            supervisor.stop()
    class_archives.mark_complete()


def _run_spark(layout: Layout) -> None:
    """Let the JVM of a driver do the work of Spark's master and worker as well, and then that of an executor."""
    os.environ["JAVA_HOME"] = str(java.java_home())
    # The launcher adds these options to those of the driver.
    os.environ["SPARK_SUBMIT_OPTS"] = _writing("spark")
    kafka = KafkaSettings.model_validate({"bootstrap_servers": (f"{HOST}:{layout.ports.kafka}",)})
    settings = AggregatorSettings.model_validate(
        {
            "spark_master": "local-cluster[1,1,512]",
            "work_dir": str(layout.directory / "spark"),
            "connector_jars_dir": str(JARS / "spark"),
        }
    )
    spark = session.start(settings, logs_text=True)
    spark.range(1).collect()
    spark.stop()
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    warm_up(spark, settings, kafka, layout.directory / "checkpoint")
    _end(spark)


def _end(spark: SparkSession) -> None:
    """Stop Spark, and wait until its JVM has written its archive."""
    gateway: Any = SparkContext._gateway
    spark.stop()
    # The JVM ends when its standard input does.
    gateway.proc.stdin.close()
    gateway.proc.wait(_WRITE_SECONDS)


def _writing(name: str) -> str:
    """Return the options with which a JVM writes the archive of a set of jars, and does not list what it leaves out."""
    return shlex.join([f"-XX:ArchiveClassesAtExit={class_archives.path(name)}", class_archives.SILENT])


def main() -> None:
    try:
        write_all()
    except EmoStreamError as error:
        sys.exit(f"class archives: {error}")


if __name__ == "__main__":
    main()
