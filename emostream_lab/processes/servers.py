"""ZooKeeper, Kafka and Spark as child processes on loopback, from the jars of build/jars and the pyspark wheel."""

import functools
import importlib.util
import itertools
import random
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream.operate import broker
from emostream_lab.machine.jars import JARS
from emostream_lab.machine.java import java_home
from emostream_lab.processes.process import Process

_LOGGING = Path(__file__).parent / "logging"
HOST = "127.0.0.1"
_BROKER_ID = 1
# Two dozen processes share one machine here: a quick start counts for more than throughput, and code that is compiled a
# second time costs whoever shares the cores more than it gives.
_LEAN_JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
# How soon a worker that is silent counts as dead (in seconds), and that it asks for its master for ever, as often as at
# first: by default it goes over to once a minute, and ends after a quarter of an hour.
_SPARK_LIVENESS = {
    "spark.worker.timeout": 20,
    "spark.worker.initialRegistrationRetries": 1_000_000,
    "spark.worker.maxRegistrationRetries": 1_000_000,
}

# Below the ports that systems give to outgoing connections (32,768 and up on Linux): one of those may be taken by the
# time that its server starts.
_FIRST_PORT = 15_000
_PORT_BLOCKS = 34
_PORTS_IN_BLOCK = 500


def zookeeper(directory: Path, port: int) -> Process:
    """A standalone ZooKeeper; its data, configuration and log are in `directory`."""
    data = directory / "data"
    configuration = directory.absolute() / "zoo.cfg"
    content = _properties(
        {
            # How exactly a session ends in time; 4 s is the least that our settings allow.
            "tickTime": 1000,
            "dataDir": data,
            "clientPort": port,
            "clientPortAddress": HOST,
            "admin.enableServer": "false",
            "autopurge.purgeInterval": 1,
            "4lw.commands.whitelist": "ruok,srvr,mntr",
        },
    )
    command = _java(
        "zookeeper",
        [*_LEAN_JVM, "-Xmx128m", f"-Dlogback.configurationFile={_LOGGING / 'zookeeper.xml'}"],
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(configuration),
    )
    return Process(
        "zookeeper",
        command,
        files={configuration: content},
        log_file=directory / "zookeeper.log",
        probe=lambda: _answers_ruok(port),
    )


def kafka(directory: Path, port: int, zookeeper_port: int) -> Process:
    """One broker under the node /kafka of ZooKeeper; its data, configuration and log are in `directory`."""
    configuration = directory.absolute() / "server.properties"
    content = _properties(
        {
            "broker.id": _BROKER_ID,
            "listeners": f"PLAINTEXT://{HOST}:{port}",
            "log.dirs": directory / "data",
            "zookeeper.connect": f"{HOST}:{zookeeper_port}/kafka",
            # A killed broker cannot come up before its old session ends.
            "zookeeper.session.timeout.ms": 6000,
            "auto.create.topics.enable": "false",
            "message.max.bytes": 2 << 20,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 3,
            # How soon a transaction past its time-out is aborted: readers wait for it until then.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "num.io.threads": 4,
            "num.network.threads": 2,
            "log.segment.bytes": 128 << 20,
        },
    )
    command = _java(
        "kafka",
        [*_LEAN_JVM, "-Xms256m", "-Xmx512m", f"-Dlog4j.configuration=file:{_LOGGING / 'kafka.properties'}"],
        "kafka.Kafka",
        str(configuration),
    )
    return Process(
        "kafka",
        command,
        files={configuration: content},
        log_file=directory / "kafka.log",
        probe=lambda: broker.is_ready(HOST, port, _BROKER_ID, directory / "data"),
    )


def spark_master(directory: Path, port: int, web_port: int = 0) -> Process:
    """The standalone master; it keeps its state, so a restart finds its workers and applications again."""
    options = {
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": directory / "recovery",
        "spark.deploy.maxExecutorRetries": -1,
        # Until then a master that was restarted waits for those who died with it, and gives nobody an executor.
        "spark.deploy.recoveryTimeout": "10s",
        **_SPARK_LIVENESS,
    }
    command = [str(spark_home() / "bin" / "spark-class"), "org.apache.spark.deploy.master.Master"]
    arguments = ["--host", HOST, "--port", str(port), "--webui-port", str(web_port)]
    return Process(
        "spark-master",
        [*command, *arguments],
        environment=_spark_environment(SPARK_MASTER_OPTS=_as_java_options(options)),
        log_file=directory / "spark-master.log",
        probe=lambda: _accepts(port),
    )


def spark_worker(directory: Path, master_port: int, cores: int, memory_mib: int, web_port: int = 0) -> Process:
    """A worker of the standalone master; ready once it has registered."""
    command = [str(spark_home() / "bin" / "spark-class"), "org.apache.spark.deploy.worker.Worker"]
    arguments = ["--host", HOST, "--webui-port", str(web_port), "--cores", str(cores), "--memory", f"{memory_mib}m"]
    process = Process(
        "spark-worker",
        [*command, *arguments, "--work-dir", str(directory / "work"), f"spark://{HOST}:{master_port}"],
        environment=_spark_environment(SPARK_WORKER_OPTS=_as_java_options(_SPARK_LIVENESS)),
        log_file=directory / "spark-worker.log",
        probe=lambda: "Successfully registered with master" in process.log_text(),
    )
    return process


def spark_home() -> Path:
    """The folder of the pyspark wheel, which is a whole Spark. Raises EmoStreamError where it is not installed."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise EmoStreamError("pyspark is not installed: `pip install --require-hashes -r requirements/spark.txt`.")
    return Path(found.origin).parent


def free_port() -> int:
    """A port of loopback that nothing listens on now. No other process gets it here, and this one not soon again.

    Raises EmoStreamError where 34 processes have ports already.
    """
    return next(port for port in _own_ports() if _is_free(port))


@functools.cache
def _own_ports() -> Iterator[int]:
    """The ports of a block that this process alone has, over and over."""
    for block in random.SystemRandom().sample(range(_PORT_BLOCKS), _PORT_BLOCKS):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # An abstract name belongs to one process of this machine, or of this network namespace, as ports do.
            claim.bind(f"\0emostream-ports-{block}")
        except OSError:
            claim.close()
            continue
        # It stays open until the process ends.
        claim.detach()
        first = _FIRST_PORT + block * _PORTS_IN_BLOCK
        return itertools.cycle(range(first, first + _PORTS_IN_BLOCK))
    raise EmoStreamError(f"{_PORT_BLOCKS} processes have free ports of this machine already: end some of them.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _properties(properties: Mapping[str, object]) -> str:
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in properties.items())


def _escaped(value: str) -> str:
    """Java reads a file of properties as Latin-1, and other characters by their number in UTF-16."""
    return re.sub(r"[^ -~]", lambda found: f"\\u{ord(found[0]):04x}", value)


def _java(jars: str, options: list[str], main_class: str, argument: str) -> list[str]:
    if not (JARS / jars).is_dir():
        raise EmoStreamError(f"{JARS / jars} is missing: run `make demo` in a checkout of EmoStream, which fetches it.")
    java = str(java_home() / "bin" / "java")
    return [java, *options, "-cp", str(JARS / jars / "*"), main_class, argument]


def chosen_installations() -> dict[str, str]:
    """The Spark and the Java that every process gets, whichever others the environment names."""
    return {"SPARK_HOME": str(spark_home()), "JAVA_HOME": str(java_home())}


def _spark_environment(**more: str) -> dict[str, str]:
    return {
        **chosen_installations(),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_DAEMON_MEMORY": "192m",
        "SPARK_DAEMON_JAVA_OPTS": " ".join(_LEAN_JVM),
        **more,
    }


def _as_java_options(options: Mapping[str, object]) -> str:
    # Quoted, as the path of a folder may hold a space.
    return " ".join(f'"-D{key}={value}"' for key, value in options.items())


def _accepts(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1):
        return True


def _answers_ruok(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"ruok")
        return connection.recv(4) == b"imok"
