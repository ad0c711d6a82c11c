"""Spark, set up for small batches that come often: its configuration, and an executor."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from emostream.config import AggregatorSettings
from emostream.errors import EmoStreamError

_HERE = Path(__file__).parent
# Longer than a worker is away that is restarted, and than its new executor takes to start on a busy machine.
_NO_EXECUTOR_SECONDS = 45.0
_LOOK_SECONDS = 0.25
# Collects a heap of some hundred megabytes with the least threads and memory of its own.
_SMALL_HEAP = "-XX:+UseSerialGC"
_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"

_CHECKPOINTING = "org.apache.spark.sql.execution.streaming.checkpointing"
_KEPT_FOR_THE_UI = (
    "spark.ui.retainedJobs",
    "spark.ui.retainedStages",
    "spark.ui.retainedTasks",
    "spark.sql.ui.retainedExecutions",
)


def start(settings: AggregatorSettings, *, logs_text: bool) -> SparkSession:
    """A session on the master of the settings. Raises EmoStreamError where Spark does not start."""
    directory = write_configuration(settings, logs_text=logs_text)
    # Where spark-submit looks, before the JVM starts; no command line shows the secret then.
    os.environ["SPARK_CONF_DIR"] = str(directory)
    os.environ["SPARK_LOCAL_IP"] = settings.host
    # The Spark that is imported here, whichever other one the environment names.
    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)
    os.environ.pop("PYSPARK_SUBMIT_ARGS", None)
    os.environ["SPARK_LOCAL_DIRS"] = str(Path(settings.work_dir, "local").resolve())
    try:
        session: SparkSession = SparkSession.builder.getOrCreate()
    except Exception as error:
        reason = " ".join(str(error).splitlines()[:2])
        java = os.environ.get("JAVA_HOME", "that of PATH, as JAVA_HOME is not set")
        raise EmoStreamError(
            f"Spark did not start on {settings.spark_master} ({reason}); is the master active, and is the Java that it "
            f"was started with ({java}) a 17, 21 or 25?"
        ) from error
    return session


def configuration(settings: AggregatorSettings) -> dict[str, object]:
    """Spark's properties. Raises EmoStreamError where the connector or the secret is missing."""
    return {
        "spark.app.name": "emostream-aggregator",
        "spark.master": settings.spark_master,
        "spark.jars": ",".join(_connector_jars(settings)),
        "spark.driver.host": settings.host,
        "spark.driver.bindAddress": settings.host,
        "spark.driver.port": settings.driver_port,
        "spark.blockManager.port": settings.block_manager_port,
        "spark.driver.memory": f"{settings.driver_memory_mib}m",
        "spark.executor.memory": f"{settings.executor_memory_mib}m",
        # A driver that only plans starts sooner with code that is compiled quickly, once.
        "spark.driver.extraJavaOptions": _java_options(_has_executors(settings), _unpacked(settings)),
        # The folder of its own in which a worker starts it.
        "spark.executor.extraJavaOptions": _java_options(settings.executor_compiler == "quick", Path()),
        # A standalone master gives an application every core there is, and none is left for its successor.
        "spark.cores.max": settings.cores,
        # A lost executor or master is noticed within the time in which viewers would.
        "spark.network.timeout": "20s",
        "spark.network.timeoutInterval": "5s",
        "spark.executor.heartbeatInterval": "3s",
        "spark.rpc.askTimeout": "20s",
        "spark.locality.wait": "0s",
        # A batch has a few hundred groups at most: every further partition or plan costs more than it gives.
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **dict.fromkeys(_KEPT_FOR_THE_UI, 20),
        # The checkpoint is scratch: the record of `swarms` is the one that counts.
        "spark.sql.streaming.minBatchesToRetain": 2,
        "spark.sql.streaming.numRecentProgressUpdates": 2,
        # So Hadoop starts one process for a file of it (`chmod`), where it would start ten: 6 ms instead of 45.
        "spark.sql.streaming.checkpointFileManagerClass": f"{_CHECKPOINTING}.FileSystemBasedCheckpointFileManager",
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
        # Also said when nothing came: by this we see that the query lives.
        "spark.sql.streaming.noDataProgressEventInterval": "1s",
        "spark.sql.streaming.stopTimeout": "5s",
        **_authentication(settings),
    }


def check_alive(session: SparkSession) -> None:
    """Raises EmoStreamError where Spark has ended the session by itself, which it does when its masters stay away."""
    context: Any = session.sparkContext
    if context._jsc.sc().isStopped():
        raise EmoStreamError("Spark ended its session: is its master active?")


def lacks_executor(session: SparkSession, settings: AggregatorSettings) -> bool:
    """Whether there is no executor that could count."""
    context: Any = session.sparkContext
    # The scheduler's own list. What Spark shows elsewhere holds those too that it gave up and that came back.
    return _has_executors(settings) and not context._jsc.sc().getExecutorIds().size()


def wait_for_executor(session: SparkSession, settings: AggregatorSettings) -> None:
    """Return as soon as there is one. Raises EmoStreamError as `check_executors`."""
    began = time.monotonic()
    while lacks_executor(session, settings):
        check_executors(session, settings, time.monotonic() - began)
        time.sleep(_LOOK_SECONDS)


def check_executors(session: SparkSession, settings: AggregatorSettings, waited_seconds: float) -> None:
    """Raises EmoStreamError where there should be an executor and is none, after so long a wait for its work.

    A master that was restarted meanwhile may never send one: it takes this application for its predecessor at the same
    address, or believes that it has its executors still.
    """
    if waited_seconds > _NO_EXECUTOR_SECONDS and lacks_executor(session, settings):
        raise EmoStreamError(
            f"Spark had no executor for {_NO_EXECUTOR_SECONDS:g} s: is a worker active, and has it cores left? The "
            "aggregator starts again, as an application that is new to the master."
        )


def write_configuration(settings: AggregatorSettings, *, logs_text: bool) -> Path:
    """Make the folder in which Spark finds its properties and how to log. Raises EmoStreamError as `configuration`."""
    directory = Path(settings.work_dir, "conf").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    _unpacked(settings).mkdir(exist_ok=True)
    shutil.copy(_HERE / f"log4j2-{'text' if logs_text else 'json'}.properties", directory / "log4j2.properties")
    file = directory / "spark-defaults.conf"
    file.touch(mode=0o600)
    properties = "".join(f"{key} {value}\n" for key, value in configuration(settings).items())
    file.write_text(properties, encoding="utf-8")
    return directory


def _java_options(is_quick: bool, unpacked: Path) -> str:
    # Libraries in machine code (zstd, lz4, snappy) are unpacked and run there. /tmp, the default, may forbid to run.
    return " ".join([_SMALL_HEAP, f'"-Djava.io.tmpdir={unpacked}"', *([_QUICK_COMPILER] if is_quick else [])])


def _unpacked(settings: AggregatorSettings) -> Path:
    return Path(settings.work_dir, "unpacked").resolve()


def _connector_jars(settings: AggregatorSettings) -> list[str]:
    jars = sorted(str(jar.resolve()) for jar in Path(settings.connector_jars_dir).glob("*.jar"))
    if not jars:
        raise EmoStreamError(
            f"{settings.connector_jars_dir} holds no jar: EMOSTREAM_AGGREGATOR_CONNECTOR_JARS_DIR must name the folder "
            "with Spark's Kafka connector, which `python3 -m emostream_lab.machine.jars` makes."
        )
    return jars


def _authentication(settings: AggregatorSettings) -> Mapping[str, str]:
    if not settings.spark_secret_file:
        return {}
    try:
        secret = Path(settings.spark_secret_file).read_text().strip()
    except OSError as error:
        raise EmoStreamError(
            f"Spark's secret cannot be read ({error}); is EMOSTREAM_AGGREGATOR_SPARK_SECRET_FILE right?"
        ) from error
    return {"spark.authenticate": "true", "spark.authenticate.secret": secret, "spark.network.crypto.enabled": "true"}


def _has_executors(settings: AggregatorSettings) -> bool:
    """Whether executors count, and the driver only plans. With a `local` master the driver does both."""
    return not settings.spark_master.startswith("local")
