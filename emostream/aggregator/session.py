"""The Spark session: its configuration for small and frequent batches, and the check for executors."""

import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from emostream.config import DRIVER_PORTS, AggregatorSettings
from emostream.errors import EmoStreamError

_HERE = Path(__file__).parent
# Longer than a restart of a worker plus the start of its new executor on a busy machine.
_NO_EXECUTOR_SECONDS = 45.0
_POLL_SECONDS = 0.25
# For a heap of some hundred megabytes, this collector needs the fewest threads and the least memory.
_SMALL_HEAP = "-XX:+UseSerialGC"
_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
_LOG_CONFIGURATION = "log4j2.properties"
_PROPERTIES = "spark-defaults.conf"

_CHECKPOINTING = "org.apache.spark.sql.execution.streaming.checkpointing"
_KEPT_FOR_THE_UI = (
    "spark.ui.retainedJobs",
    "spark.ui.retainedStages",
    "spark.ui.retainedTasks",
    "spark.sql.ui.retainedExecutions",
)


def start(settings: AggregatorSettings, *, logs_text: bool) -> SparkSession:
    """Start a session on the master from the settings. Raises EmoStreamError if Spark does not start."""
    directory = write_configuration(settings, logs_text=logs_text)
    # spark-submit reads its properties from a file. So the secret does not appear on a command line.
    arguments = ["--properties-file", str(directory / _PROPERTIES), "pyspark-shell"]
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(arguments)
    # Spark puts this folder on the class path. With a folder that has files, the JVM could not use a class archive.
    os.environ.pop("SPARK_CONF_DIR", None)
    os.environ["SPARK_LOCAL_IP"] = settings.host
    # Use the Spark that Python imports, even if the environment names another one.
    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)
    os.environ["SPARK_LOCAL_DIRS"] = str(Path(settings.work_dir, "local").resolve())
    try:
        session: SparkSession = SparkSession.builder.getOrCreate()
    except Exception as error:
        reason = " ".join(str(error).splitlines()[:2])
        java = os.environ.get("JAVA_HOME", "the one on PATH, because JAVA_HOME is not set")
        raise EmoStreamError(
            f"Spark did not start on {settings.spark_master} ({reason}); is the master active, and is the Java in use "
            f"({java}) version 17, 21 or 25?"
        ) from error
    return session


def configuration(settings: AggregatorSettings) -> dict[str, object]:
    """Return Spark's properties. Raises EmoStreamError if the Kafka connector or the secret is missing."""
    jars = _connector_jars(settings)
    return {
        "spark.app.name": "emostream-aggregator",
        "spark.master": settings.spark_master,
        # Executors load the connector from the driver, unless their host has it in the same folder.
        "spark.jars": ",".join(jars),
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.executor.extraClassPath": os.pathsep.join(jars),
        "spark.driver.host": settings.host,
        "spark.driver.bindAddress": settings.host,
        "spark.driver.port": _driver_port(settings),
        "spark.blockManager.port": settings.block_manager_port,
        "spark.driver.memory": f"{settings.driver_memory_mib}m",
        "spark.executor.memory": f"{settings.executor_memory_mib}m",
        "spark.driver.extraJavaOptions": _driver_java_options(settings),
        # An executor unpacks libraries in its current folder, which the worker creates for it.
        "spark.executor.extraJavaOptions": _java_options(settings, Path(), settings.executor_compiler == "quick"),
        # By default, a standalone master gives an application all cores. Then a successor would get none.
        "spark.cores.max": settings.cores,
        # With these timeouts, the driver notices a lost executor or master as soon as viewers would.
        "spark.network.timeout": "20s",
        "spark.network.timeoutInterval": "5s",
        "spark.executor.heartbeatInterval": "3s",
        "spark.rpc.askTimeout": "20s",
        # A task that reads from a dead broker fails after 5 s, until there is another one.
        "spark.task.maxFailures": 8,
        "spark.locality.wait": "0s",
        # A batch has a few hundred groups at most, so more partitions or adaptive plans cost more than they save.
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **dict.fromkeys(_KEPT_FOR_THE_UI, 20),
        # Spark's own checkpoint is temporary. The real checkpoint is in the record of `swarms`.
        "spark.sql.streaming.minBatchesToRetain": 2,
        "spark.sql.streaming.numRecentProgressUpdates": 2,
        # With these, Hadoop starts one process (`chmod`) per checkpoint file instead of ten: 6 ms instead of 45 ms.
        "spark.sql.streaming.checkpointFileManagerClass": f"{_CHECKPOINTING}.FileSystemBasedCheckpointFileManager",
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
        # Report progress even if no data came. The driver sees by this that the query is alive.
        "spark.sql.streaming.noDataProgressEventInterval": "1s",
        "spark.sql.streaming.stopTimeout": "5s",
        **_authentication(settings),
    }


def check_alive(session: SparkSession) -> None:
    """Check that the session is open. Raises EmoStreamError if Spark has ended it, as it does without a master."""
    context: Any = session.sparkContext
    if context._jsc.sc().isStopped():
        raise EmoStreamError("Spark ended its session: is its master active?")


def lacks_executor(session: SparkSession, settings: AggregatorSettings) -> bool:
    """Return whether the session needs an executor and has none."""
    context: Any = session.sparkContext
    # This is the scheduler's own list. Spark's other lists also hold executors that it gave up and that came back.
    return _has_executors(settings) and not context._jsc.sc().getExecutorIds().size()


def wait_for_executor(session: SparkSession, settings: AggregatorSettings) -> None:
    """Wait until the session has an executor. Raises EmoStreamError like `check_executors`."""
    began = time.monotonic()
    while lacks_executor(session, settings):
        check_executors(session, settings, time.monotonic() - began)
        time.sleep(_POLL_SECONDS)


def check_executors(session: SparkSession, settings: AggregatorSettings, waited_seconds: float) -> None:
    """Check that the session has an executor. Raises EmoStreamError if none came although the wait was long.

    A master that was restarted in the meantime may never send an executor, because it assumes that the application
    still has its executors.
    """
    if waited_seconds > _NO_EXECUTOR_SECONDS and lacks_executor(session, settings):
        raise EmoStreamError(
            f"Spark had no executor for {_NO_EXECUTOR_SECONDS:g} s: is a worker active, and does it have free cores? "
            "The aggregator restarts as a new application of the master."
        )


def write_configuration(settings: AggregatorSettings, *, logs_text: bool) -> Path:
    """Write Spark's properties and log configuration into a folder. Raises EmoStreamError like `configuration`."""
    directory = _configuration_dir(settings)
    directory.mkdir(parents=True, exist_ok=True)
    _unpacked(settings).mkdir(exist_ok=True)
    shutil.copy(_HERE / f"log4j2-{'text' if logs_text else 'json'}.properties", directory / _LOG_CONFIGURATION)
    file = directory / _PROPERTIES
    file.touch(mode=0o600)
    properties = "".join(f"{key} {value}\n" for key, value in configuration(settings).items())
    file.write_text(properties, encoding="utf-8")
    return directory


def _driver_port(settings: AggregatorSettings) -> int:
    """Return the port after that of the last start, which is in the properties that it wrote.

    The master knows an application by its address. If driver and master are killed at the same time, the new master
    restores the application and waits for it. To a new driver at the same address it would give no executor.
    """
    first = settings.driver_port
    file = _configuration_dir(settings) / _PROPERTIES
    if not first or not file.exists():
        return first
    last = re.search(r"^spark\.driver\.port (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    following = int(last[1]) + 1 if last else first
    return following if following in range(first, first + DRIVER_PORTS) else first


def _driver_java_options(settings: AggregatorSettings) -> str:
    log_configuration = f'"-Dlog4j2.configurationFile={_configuration_dir(settings) / _LOG_CONFIGURATION}"'
    # A driver that only plans starts faster with the JVM's quick compiler. One of a `local` master is the executor too.
    is_quick = _has_executors(settings) or settings.executor_compiler == "quick"
    return f"{_java_options(settings, _unpacked(settings), is_quick)} {log_configuration}"


def _java_options(settings: AggregatorSettings, unpacked: Path, is_quick: bool) -> str:
    # Java unpacks native libraries (zstd, lz4, snappy) into this folder and loads them from there. The default is
    # /tmp, which may be mounted without the right to execute.
    options = [_SMALL_HEAP, f'"-Djava.io.tmpdir={unpacked}"']
    if is_quick:
        options.append(_QUICK_COMPILER)
    if settings.class_archive:
        # After an update of Java or of a jar, the archive does not fit any more. Then the JVM starts without it.
        options += [f'"-XX:SharedArchiveFile={Path(settings.class_archive).resolve()}"', "-Xlog:cds*=off"]
    return " ".join(options)


def _configuration_dir(settings: AggregatorSettings) -> Path:
    return Path(settings.work_dir, "conf").resolve()


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
    """Return whether executors do the counting. With a `local` master, the driver both plans and counts."""
    return not settings.spark_master.startswith("local")
