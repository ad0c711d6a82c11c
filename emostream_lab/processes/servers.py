"""Runs ZooKeeper, Kafka and Spark as child processes on loopback, from build/jars and the pyspark wheel."""

import contextlib
import functools
import importlib.util
import itertools
import json
import os
import random
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream import monitoring
from emostream.errors import EmoStreamError
from emostream.operate import broker, rights
from emostream.runtime import tls
from emostream_lab.machine import class_archives
from emostream_lab.machine import prometheus as programs
from emostream_lab.machine.certificates import Files
from emostream_lab.machine.jars import JARS
from emostream_lab.machine.java import java_home
from emostream_lab.processes.process import Process

_LOGGING = Path(__file__).parent / "logging"
HOST = "127.0.0.1"
_JMX_AGENT = JARS / "monitoring" / "jmx_prometheus_javaagent-1.0.1.jar"
_MONITORING = Path(monitoring.__file__).parent
_JMX_RULES = _MONITORING / "kafka.yml"
# For as long as a demo may run, and no more than that of the disk.
_RETENTION = ("--storage.tsdb.retention.time=2d", "--storage.tsdb.retention.size=512MB")
_BROKER_ID = 1
# Two dozen processes share one machine here, so a quick start matters more than throughput. A second, optimizing
# compilation would take more time from the other processes than it saves.
_LEAN_JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
# A silent worker counts as dead after 20 s. A worker retries to reach its master without end and at the initial rate;
# by default it soon retries only once a minute, and ends after a quarter of an hour.
_SPARK_LIVENESS = {
    "spark.worker.timeout": 20,
    "spark.worker.initialRegistrationRetries": 1_000_000,
    "spark.worker.maxRegistrationRetries": 1_000_000,
}
# The path of their web interfaces at which they serve metrics.
SPARK_METRICS_PATH = "/metrics/prometheus"

# These ports are below those for outgoing connections (32,768 and up on Linux). A port of that range may be in use when
# the server starts.
_FIRST_PORT = 15_000
_PORT_BLOCKS = 34
_PORTS_IN_BLOCK = 500


@dataclass(frozen=True)
class Place:
    """Where a server runs: in a folder that bears its name, and at an address. `within` comes before its command.

    With a `metrics_port` it serves its metrics there, in Prometheus' format.
    """

    directory: Path
    port: int
    host: str = HOST
    within: Sequence[str] = ()
    metrics_port: int = 0


def zookeeper(directory: Path, port: int, certificates: Files | None = None, *, metrics_port: int = 0) -> Process:
    """Return a standalone ZooKeeper. Its data, configuration and log are in `directory`.

    With certificates, it takes only clients that have one of the same CA, and knows them by it.
    """
    properties = {
        # The precision of session time-outs. The shortest session that our settings allow is 4 s.
        "tickTime": 1000,
        "dataDir": directory / "data",
        "secureClientPort" if certificates else "clientPort": port,
        "secureClientPortAddress" if certificates else "clientPortAddress": HOST,
        "admin.enableServer": "false",
        "autopurge.purgeInterval": 1,
        "4lw.commands.whitelist": "ruok,srvr,mntr",
        **(_zookeeper_tls(certificates) if certificates else {}),
    }
    return zookeeper_of(_properties(properties), Place(directory, port, metrics_port=metrics_port))


def _zookeeper_tls(certificates: Files) -> dict[str, object]:
    return {
        # Only this one speaks TLS.
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
        "X509AuthenticationProvider.superUser": rights.OPERATOR,
        "ssl.clientAuth": "need",
        "ssl.keyStore.type": "PEM",
        "ssl.keyStore.location": certificates.identity("zookeeper").absolute(),
        "ssl.trustStore.type": "PEM",
        "ssl.trustStore.location": certificates.ca.absolute(),
    }


def zookeeper_of(properties: str, place: Place) -> Process:
    """Return a ZooKeeper with these properties, which name its address."""
    configuration = place.directory.absolute() / "zoo.cfg"
    if place.metrics_port:
        provider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
        at = {"metricsProvider.httpHost": place.host, "metricsProvider.httpPort": place.metrics_port}
        properties += _properties({"metricsProvider.className": provider, **at})
    command = _java(
        # Its own jars come first, as in the archive of its classes.
        ("zookeeper", "monitoring") if place.metrics_port else ("zookeeper",),
        [*_LEAN_JVM, "-Xmx128m", f"-Dlogback.configurationFile={_LOGGING / 'zookeeper.xml'}"],
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(configuration),
    )
    return _server(place, command, configuration, properties, lambda: _answers_ruok(place.host, place.port))


def kafka(  # noqa: PLR0913 - each has a name at the call
    directory: Path,
    port: int,
    zookeeper_port: int,
    broker_id: int = _BROKER_ID,
    certificates: Files | None = None,
    *,
    metrics_port: int = 0,
) -> Process:
    """Return a broker under the node /kafka of ZooKeeper. Its data, configuration and log are in `directory`.

    With certificates, it takes only clients that have one of the same CA, and allows them only what a rule does.
    """
    properties = {
        "broker.id": broker_id,
        "listeners": f"{'SSL' if certificates else 'PLAINTEXT'}://{HOST}:{port}",
        "log.dirs": directory / "data",
        "zookeeper.connect": f"{HOST}:{zookeeper_port}/kafka",
        # A killed broker cannot start again before its old session ends.
        "zookeeper.session.timeout.ms": 6000,
        "auto.create.topics.enable": "false",
        "message.max.bytes": 4 << 20,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 3,
        # How often expired transactions are aborted. Readers wait until then.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "num.io.threads": 4,
        "num.network.threads": 2,
        "log.segment.bytes": 128 << 20,
        **(_kafka_tls(certificates) if certificates else {}),
    }
    return kafka_of(_properties(properties), Place(directory, port, metrics_port=metrics_port))


def _kafka_tls(certificates: Files) -> dict[str, object]:
    identity = certificates.identity("kafka")
    stores = tls.java_stores(certificates.ca, identity)
    return {
        "security.inter.broker.protocol": "SSL",
        "ssl.client.auth": "required",
        **stores,
        "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
        "super.users": f"User:{rights.BROKER};User:{rights.OPERATOR}",
        "zookeeper.ssl.client.enable": "true",
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        # The default of Kafka's client for ZooKeeper is 1.2, which ZooKeeper refuses.
        "zookeeper.ssl.protocol": "TLSv1.3",
        "zookeeper.set.acl": "true",
        # On a busy machine, the first handshake of two new JVMs takes longer than a session.
        "zookeeper.connection.timeout.ms": 60_000,
        **{f"zookeeper.{name}": value for name, value in stores.items()},
    }


def kafka_of(properties: str, place: Place) -> Process:
    """Return a broker with these properties, which name its id, its address, and the folder `data` of its own."""
    data = place.directory / "data"
    configuration = place.directory.absolute() / "server.properties"
    agent = [f"-javaagent:{_JMX_AGENT}={place.host}:{place.metrics_port}:{_JMX_RULES}"] if place.metrics_port else []
    command = _java(
        ("kafka",),
        [*_LEAN_JVM, "-Xms256m", "-Xmx512m", f"-Dlog4j.configuration=file:{_LOGGING / 'kafka.properties'}", *agent],
        "kafka.Kafka",
        str(configuration),
    )
    return _server(place, command, configuration, properties, lambda: broker.is_ready(place.host, place.port, data))


def _server(
    place: Place, command: Sequence[str], configuration: Path, properties: str, probe: Callable[[], bool]
) -> Process:
    name = place.directory.name
    return Process(
        name,
        [*place.within, *command],
        files={configuration: properties},
        log_file=place.directory / f"{name}.log",
        probe=probe,
    )


def spark_master(directory: Path, port: int, web_port: int = 0) -> Process:
    """Return a standalone Spark master. It stores its state, so a restart finds its workers and applications."""
    options = {
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": directory / "recovery",
        "spark.deploy.maxExecutorRetries": -1,
        # For this time a restarted master waits for its former workers and applications, and assigns no executors.
        "spark.deploy.recoveryTimeout": "10s",
        **_SPARK_LIVENESS,
        **_spark_metrics("master"),
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
    """Return a worker of the standalone master. It is ready when it has registered there."""
    command = [str(spark_home() / "bin" / "spark-class"), "org.apache.spark.deploy.worker.Worker"]
    arguments = ["--host", HOST, "--webui-port", str(web_port), "--cores", str(cores), "--memory", f"{memory_mib}m"]
    process = Process(
        "spark-worker",
        [*command, *arguments, "--work-dir", str(directory / "work"), f"spark://{HOST}:{master_port}"],
        environment=_spark_environment(
            SPARK_WORKER_OPTS=_as_java_options({**_SPARK_LIVENESS, **_spark_metrics("worker")})
        ),
        log_file=directory / "spark-worker.log",
        probe=lambda: "Successfully registered with master" in process.log_text(),
    )
    return process


def _spark_metrics(who: str) -> dict[str, str]:
    sink = f"spark.metrics.conf.{who}.sink.prometheusServlet"
    return {f"{sink}.class": "org.apache.spark.metrics.sink.PrometheusServlet", f"{sink}.path": SPARK_METRICS_PATH}


def prometheus(
    directory: Path, port: int, targets: Sequence[Mapping[str, object]], certificates: Files | None = None
) -> Process:
    """Return a Prometheus that asks these targets, and serves the page of graphs at /user/.

    With certificates, it shows that of an operator to those of the targets that speak TLS.
    """
    files = {name: (_MONITORING / name).read_text(encoding="utf-8") for name in ("prometheus.yml", "alerts.yml")}
    if certificates:
        identity = certificates.identity("operator").absolute()
        own = {"ca_file": str(certificates.ca.absolute()), "cert_file": str(identity), "key_file": str(identity)}
        # The file ends within its only job.
        files["prometheus.yml"] += f"    tls_config: {json.dumps(own)}\n"
    command = [
        str(programs.program("prometheus")),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        *_RETENTION,
        f"--web.listen-address={HOST}:{port}",
        f"--web.user-assets={_MONITORING / 'page'}",
    ]
    return Process(
        "prometheus",
        command,
        files={directory / name: text for name, text in {**files, "targets.json": json.dumps(targets)}.items()},
        log_file=directory / "prometheus.log",
        probe=lambda: _accepts(port),
    )


def spark_home() -> Path:
    """Return the folder of the pyspark wheel, a complete Spark. Raises EmoStreamError if it is not installed."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise EmoStreamError("pyspark is not installed: `pip install --require-hashes -r requirements/spark.txt`.")
    return Path(found.origin).parent


def free_port() -> int:
    """Return a free port of loopback. No other process gets it from here, and this process not again soon.

    Raises EmoStreamError if 34 processes use ports already.
    """
    return next(port for port in _own_ports() if _is_free(port))


@functools.cache
def _own_ports() -> Iterator[int]:
    """Claim a block of ports for this process, and return an endless iterator over them."""
    for block in random.SystemRandom().sample(range(_PORT_BLOCKS), _PORT_BLOCKS):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # Only one process of a network namespace can bind an abstract name, as with a port.
            claim.bind(f"\0emostream-ports-{block}")
        except OSError:
            claim.close()
            continue
        # Keep the socket open until the process ends.
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
    """Escape a value for a properties file. Java reads such a file as Latin-1, with escapes in UTF-16."""
    return re.sub(r"[^ -~]", lambda found: f"\\u{ord(found[0]):04x}", value)


def _java(sets: Sequence[str], options: list[str], main_class: str, argument: str) -> list[str]:
    for name in sets:
        if not (JARS / name).is_dir():
            raise EmoStreamError(
                f"{JARS / name} is missing: run `make demo` in a checkout of EmoStream, which fetches it."
            )
    java = str(java_home() / "bin" / "java")
    class_path = os.pathsep.join(str(JARS / name / "*") for name in sets)
    return [java, *class_archives.java_options(sets[0]), *options, "-cp", class_path, main_class, argument]


def chosen_installations() -> dict[str, str]:
    """Return SPARK_HOME and JAVA_HOME for every process. They override those of the environment."""
    return {"SPARK_HOME": str(spark_home()), "JAVA_HOME": str(java_home())}


def _spark_environment(**more: str) -> dict[str, str]:
    options = [*class_archives.java_options("spark"), *_LEAN_JVM]
    return {
        **chosen_installations(),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_DAEMON_MEMORY": "192m",
        # The path of a folder may contain a space.
        "SPARK_DAEMON_JAVA_OPTS": " ".join(f'"{option}"' for option in options),
        # Master and worker need no connector. But a class path must begin like that of the archive.
        "SPARK_DAEMON_CLASSPATH": os.pathsep.join(sorted(map(str, (JARS / "spark").glob("*.jar")))),
        **more,
    }


def _as_java_options(options: Mapping[str, object]) -> str:
    # The path of a folder may contain a space.
    return " ".join(f'"-D{key}={value}"' for key, value in options.items())


def _accepts(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1):
        return True


def _answers_ruok(host: str, port: int) -> bool:
    context = tls.client_context()
    with contextlib.ExitStack() as cleanup:
        connection = cleanup.enter_context(socket.create_connection((host, port), timeout=1))
        if context:
            connection = cleanup.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(b"ruok")
        return connection.recv(4) == b"imok"
