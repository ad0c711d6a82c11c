"""Which processes make EmoStream on one machine, as data: their ports, settings and the order they need."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emostream import config
from emostream.client.connection import fetch
from emostream.config import KafkaSettings, ZooKeeperSettings, url
from emostream.errors import EmoStreamError
from emostream.runtime import tls
from emostream_lab.machine import certificates, class_archives
from emostream_lab.machine.certificates import Files
from emostream_lab.machine.jars import JARS
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST

# In the order in which they start; stopping goes the other way.
TIERS = (
    "zookeeper",
    "kafka",
    "spark",
    "topics",
    "registry",
    "subscriber",
    "publisher",
    "ingest",
    "aggregator",
    "audit",
    # With `has_metrics` alone.
    "canary",
    "prometheus",
)


EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - asked for by LAN=1, and told plainly there


@dataclass(frozen=True)
class Part:
    """One process: its tier, where it answers clients and operators, and what must be ready before it starts.

    `needs` names tiers or processes. Prometheus asks at `metrics_port`, if there is one.

    `runs_once` is for a command that is ready when it has ended well, and is not started again. One that came back, but
    is not ready by `restart_timeout_seconds` after that, is killed and started once more.
    """

    tier: str
    process: Process
    port: int | None = None
    admin_port: int | None = None
    metrics_port: int | None = None
    metrics_path: str = "/metrics"
    cluster: str = ""
    needs: tuple[str, ...] = ()
    runs_once: bool = False
    # Generous: on a machine that is busy with other work, Spark alone may take minutes.
    restart_timeout_seconds: float = 240

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def address(self) -> str:
        """`host:port` as a client dials it; empty where nothing listens."""
        return f"{HOST}:{self.port}" if self.port else ""

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return tuple({port: None for port in (self.port, self.admin_port, self.metrics_port) if port})


@dataclass(frozen=True)
class MetricsPorts:
    """Where the servers that are not ours tell Prometheus their metrics; at 0 they do not."""

    zookeeper: int = 0
    kafka: int = 0
    spark_master: int = 0
    spark_worker: int = 0


@dataclass(frozen=True)
class Ports:
    """Where each process listens; the defaults are those of the settings. Subscribers are dealt out by cluster."""

    zookeeper: int = 2181
    kafka: int = 9092
    spark_master: int = 7077
    ingest: int = 8000
    registry: int = 8001
    aggregator: int = 8002
    audit: int = 8003
    canary: int = 8004
    publishers: tuple[int, ...] = (8101, 8102, 8103)
    subscribers: tuple[tuple[int, ...], ...] = ((9001, 9002, 9003), (9004, 9005, 9006), (9007, 9008, 9009))
    ingest_admin: int = 8010
    registry_admin: int = 8011
    # The demo's own, by which the page of the topology kills processes.
    switch: int = 8020
    subscriber_admins: tuple[tuple[int, ...], ...] = (
        (10001, 10002, 10003),
        (10004, 10005, 10006),
        (10007, 10008, 10009),
    )
    prometheus: int = 9090
    metrics: MetricsPorts = field(default_factory=lambda: MetricsPorts(7000, 7071, 8080, 8081))

    @classmethod
    def free(cls, clusters: int, subscribers_per_cluster: int) -> "Ports":
        """Ports that nothing listens on now, for a topology beside another one."""

        def of_subscribers() -> tuple[tuple[int, ...], ...]:
            return tuple(tuple(servers.free_port() for _ in range(subscribers_per_cluster)) for _ in range(clusters))

        return cls(
            zookeeper=servers.free_port(),
            kafka=servers.free_port(),
            spark_master=servers.free_port(),
            ingest=servers.free_port(),
            registry=servers.free_port(),
            aggregator=servers.free_port(),
            audit=servers.free_port(),
            canary=servers.free_port(),
            publishers=tuple(servers.free_port() for _ in range(clusters)),
            subscribers=of_subscribers(),
            ingest_admin=servers.free_port(),
            registry_admin=servers.free_port(),
            switch=servers.free_port(),
            subscriber_admins=of_subscribers(),
            prometheus=servers.free_port(),
            metrics=MetricsPorts(*(servers.free_port() for _ in range(4))),
        )


@dataclass(frozen=True)
class Layout:
    """What is free to choose about a topology; `settings` are environment variables of every process."""

    directory: Path
    ports: Ports = field(default_factory=Ports)
    trigger_ms: int = 2_000
    spark_master: str = ""
    # Where viewers find ingest, registry and subscribers. Any other than loopback opens their ports to the network.
    public_address: str = HOST
    settings: Mapping[str, str] = field(default_factory=dict)
    # Beside the aggregator, and beside the publisher of the first cluster: one each that waits to be elected.
    has_standbys: bool = False
    # Whether the processes know each other by certificates, and may do only what emostream/operate/rights.py says.
    has_tls: bool = False
    # Prometheus, a canary, and the metrics of ZooKeeper, Kafka and Spark.
    has_metrics: bool = False

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(f"cluster{number}" for number in range(1, len(self.ports.publishers) + 1))

    @property
    def certificates(self) -> Files | None:
        """Where `write_certificates` writes them; None without TLS."""
        return Files(self.directory / "certificates") if self.has_tls else None


def write_certificates(layout: Layout) -> None:
    """Make a CA and a certificate for each identity of the topology, if it has TLS."""
    if layout.certificates:
        certificates.make(layout.certificates.directory, [*_IDENTITIES, *_cluster_identities(layout)])


# Operators and whoever stands in for them here, as the crowd, are one.
_OPERATOR = "operator"
_IDENTITIES = [(tier, "") for tier in ("zookeeper", "kafka", _OPERATOR, "registry", "ingest", "aggregator", "audit")]


def _cluster_identities(layout: Layout) -> Iterator[tuple[str, str]]:
    for cluster in layout.clusters:
        yield "publisher", cluster
        yield "subscriber", cluster


def identity_settings(layout: Layout, tier: str = _OPERATOR, cluster: str = "") -> dict[str, str]:
    """The settings by which a process has an identity; none without TLS."""
    return layout.certificates.settings(tier, cluster) if layout.certificates else {}


def parts(layout: Layout) -> list[Part]:
    """Every process of the topology, in the order of TIERS."""
    found = [*_servers(layout), *_tiers(layout)]
    return [*found, *_watchers(layout, found)] if layout.has_metrics else found


def select(available: list[Part], tiers: tuple[str, ...]) -> list[Part]:
    """The parts of these tiers alone; whatever else they need is somebody else's to start.

    Raises EmoStreamError where a name is no tier.
    """
    known = list(dict.fromkeys(part.tier for part in available))
    if unknown := [tier for tier in tiers if tier not in known]:
        raise EmoStreamError(f"there is no tier {', '.join(unknown)}: choose from {','.join(known)}.")
    return [part for part in available if part.tier in tiers]


def ports_in_use(selected: list[Part]) -> list[tuple[int, Part]]:
    """The ports that something else listens on already, each with the part that needs it."""
    return [(port, part) for part in selected for port in part.ports if _accepts(port)]


def environment(layout: Layout) -> dict[str, str]:
    """The settings by which any command, ours or the user's, finds this topology."""
    ports = layout.ports
    return {
        **servers.chosen_installations(),
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{ports.kafka}",
        "EMOSTREAM_ZOOKEEPER_HOSTS": f"{HOST}:{ports.zookeeper}",
        "EMOSTREAM_CLUSTERS_NAMES": ",".join(layout.clusters),
        "EMOSTREAM_REGISTRY_PORT": str(ports.registry),
        "EMOSTREAM_REGISTRY_ADMIN_PORT": str(ports.registry_admin),
        # Whoever sees this machine's page may look behind the scenes.
        "EMOSTREAM_REGISTRY_PUBLIC_LIVE_TOPOLOGY": "true",
        "EMOSTREAM_REGISTRY_INGEST_URL": f"http://{layout.public_address}:{ports.ingest}",
        "EMOSTREAM_INGEST_PORT": str(ports.ingest),
        "EMOSTREAM_INGEST_ADMIN_PORT": str(ports.ingest_admin),
        "EMOSTREAM_CLIENT_REGISTRY_URL": f"http://{HOST}:{ports.registry}",
        "EMOSTREAM_CLIENT_REGISTRY_ADMIN_URL": url(HOST, ports.registry_admin, "https" if layout.has_tls else "http"),
        "EMOSTREAM_CLIENT_INGEST_URL": f"http://{HOST}:{ports.ingest}",
        "EMOSTREAM_AGGREGATOR_ADMIN_PORT": str(ports.aggregator),
        "EMOSTREAM_AUDIT_ADMIN_PORT": str(ports.audit),
        "EMOSTREAM_CANARY_ADMIN_PORT": str(ports.canary),
        "EMOSTREAM_AGGREGATOR_TRIGGER_MS": str(layout.trigger_ms),
        "EMOSTREAM_AGGREGATOR_SPARK_MASTER": layout.spark_master or f"spark://{HOST}:{ports.spark_master}",
        "EMOSTREAM_AGGREGATOR_WORK_DIR": str(layout.directory / "aggregator"),
        "EMOSTREAM_AGGREGATOR_CONNECTOR_JARS_DIR": str(JARS / "spark"),
        "EMOSTREAM_AGGREGATOR_CLASS_ARCHIVE": str(class_archives.path("spark")),
        # All tiers share the cores of this machine.
        "EMOSTREAM_AGGREGATOR_EXECUTOR_COMPILER": "quick",
        **_public_settings(layout),
        **identity_settings(layout),
        **layout.settings,
    }


def operator_settings(layout: Layout) -> tuple[ZooKeeperSettings, KafkaSettings]:
    """The settings by which an operator in this process finds the servers of this topology."""
    ports = layout.ports
    return (
        config.load(ZooKeeperSettings, hosts=(f"{HOST}:{ports.zookeeper}",)),
        config.load(KafkaSettings, bootstrap_servers=(f"{HOST}:{ports.kafka}",)),
    )


def _public_settings(layout: Layout) -> dict[str, str]:
    if layout.public_address == HOST:
        return {}
    ports = {"INGEST": layout.ports.ingest, "REGISTRY": layout.ports.registry}
    advertised = {
        f"EMOSTREAM_{tier}_ADVERTISED_URL": f"http://{layout.public_address}:{port}" for tier, port in ports.items()
    }
    return advertised | {f"EMOSTREAM_{tier}_HOST": EVERY_ADDRESS for tier in (*ports, "SUBSCRIBER")}


def _servers(layout: Layout) -> Iterator[Part]:
    directory, ports = layout.directory, layout.ports
    certificates = layout.certificates
    metrics = ports.metrics if layout.has_metrics else MetricsPorts()
    zookeeper = servers.zookeeper(
        directory / "zookeeper", ports.zookeeper, certificates, metrics_port=metrics.zookeeper
    )
    yield Part("zookeeper", zookeeper, ports.zookeeper, metrics_port=metrics.zookeeper)
    kafka = servers.kafka(
        directory / "kafka",
        ports.kafka,
        ports.zookeeper,
        certificates=certificates,
        metrics_port=metrics.kafka,
    )
    needs = ("zookeeper",)
    yield Part("kafka", kafka, ports.kafka, metrics_port=metrics.kafka, needs=needs, restart_timeout_seconds=60)
    if layout.spark_master:
        return
    spark, web = directory / "spark", metrics.spark_master
    master = servers.spark_master(spark, ports.spark_master, web)
    yield Part("spark", master, ports.spark_master, metrics_port=web, metrics_path=servers.SPARK_METRICS_PATH)
    # One core for the leading driver and one for its successor, whose executor starts before the old one is gone.
    web = metrics.spark_worker
    worker = servers.spark_worker(spark, ports.spark_master, cores=2, memory_mib=2_048, web_port=web)
    yield Part("spark", worker, metrics_port=web, metrics_path=servers.SPARK_METRICS_PATH, needs=("spark-master",))


def _tiers(layout: Layout) -> Iterator[Part]:
    ports = layout.ports
    # Until it has run, nobody but operators may do anything.
    acls = ("acls",) if layout.has_tls else ()
    for name in acls:
        yield Part("topics", _command(layout, name, "acls", "apply"), needs=("kafka",), runs_once=True)
    topics = _command(layout, "topics", "topics", "apply")
    yield Part("topics", topics, needs=("kafka", *acls), runs_once=True)
    yield _service(layout, "registry", (ports.registry, ports.registry_admin), "zookeeper", *acls)
    for cluster, members, admins in zip(layout.clusters, ports.subscribers, ports.subscriber_admins, strict=True):
        for own_ports in zip(members, admins, strict=True):
            yield _subscriber(layout, cluster, own_ports)
    for cluster, port in zip(layout.clusters, ports.publishers, strict=True):
        yield _service(layout, "publisher", (port, port), "topics", name=f"publisher@{cluster}", cluster=cluster)
    yield _service(layout, "ingest", (ports.ingest, ports.ingest_admin), "topics")
    yield _service(layout, "aggregator", (ports.aggregator, ports.aggregator), "topics", "spark")
    yield _service(layout, "audit", (ports.audit, ports.audit), "topics")
    if layout.has_standbys:
        yield from _standbys(layout)


def _standbys(layout: Layout) -> Iterator[Part]:
    port, cluster = servers.free_port(), layout.clusters[0]
    yield _service(layout, "publisher", (port, port), "topics", name=f"publisher-standby@{cluster}", cluster=cluster)
    yield aggregator_beside(layout, "aggregator-standby")


def _watchers(layout: Layout, watched: list[Part]) -> Iterator[Part]:
    """The canary, and the Prometheus that asks all these and the canary."""
    port = layout.ports.canary
    # It opens an event, which only operators may do.
    as_operator = replace(layout, settings={**layout.settings, **identity_settings(layout)})
    needs = ("registry", "subscriber", "publisher", "ingest", "aggregator")
    canary = _service(as_operator, "canary", (port, port), *needs)
    yield canary
    port, asked = layout.ports.prometheus, targets([*watched, canary], has_tls=layout.has_tls)
    process = servers.prometheus(layout.directory / "prometheus", port, asked, layout.certificates)
    # It begins last, so no alert fires because of the start.
    yield Part("prometheus", process, port, needs=("canary",))


def targets(asked: list[Part], *, has_tls: bool = False) -> list[dict[str, Any]]:
    """What Prometheus asks for metrics, as it reads it from a file. With TLS, our own processes speak HTTPS."""
    return [
        {
            "targets": [f"{HOST}:{part.metrics_port}"],
            "labels": {
                "tier": part.tier,
                "instance": part.name,
                "__metrics_path__": part.metrics_path,
                "__scheme__": "https" if has_tls and part.admin_port else "http",
                **({"cluster": part.cluster} if part.cluster else {}),
            },
        }
        for part in asked
        if part.metrics_port
    ]


def aggregator_beside(layout: Layout, name: str, settings: Mapping[str, str] = MappingProxyType({})) -> Part:
    """One more aggregator, with a port and a folder of its own, and with these settings besides."""
    port = servers.free_port()
    own = {"EMOSTREAM_AGGREGATOR_ADMIN_PORT": str(port), "EMOSTREAM_AGGREGATOR_WORK_DIR": str(layout.directory / name)}
    beside = replace(layout, settings={**layout.settings, **own, **settings})
    return _service(beside, "aggregator", (port, port), "topics", "spark", name=name)


def _subscriber(layout: Layout, cluster: str, ports: tuple[int, int]) -> Part:
    port, admin_port = ports
    own = {
        "EMOSTREAM_SUBSCRIBER_ADVERTISED_URL": f"http://{layout.public_address}:{port}",
        "EMOSTREAM_SUBSCRIBER_ADMIN_PORT": str(admin_port),
    }
    layout = replace(layout, settings={**layout.settings, **own})
    return _service(layout, "subscriber", ports, "topics", name=f"subscriber@{port}", cluster=cluster)


def _service(layout: Layout, tier: str, ports: tuple[int, int], *needs: str, name: str = "", cluster: str = "") -> Part:
    """A process of ours; `ports` are those of its public and admin listeners, twice the same where it has one alone."""
    port, admin_port = ports
    flags = ["--cluster", cluster, "--port", str(port)] if cluster else []
    layout = replace(layout, settings={**identity_settings(layout, tier, cluster), **layout.settings})
    process = _command(layout, name or tier, tier, *flags, probe=lambda: _is_ready(admin_port))
    return Part(tier, process, port, admin_port, admin_port, cluster=cluster, needs=needs)


def _command(layout: Layout, name: str, *arguments: str, probe: Callable[[], bool] = lambda: True) -> Process:
    return Process(
        name,
        [sys.executable, "-m", "emostream", *arguments],
        environment=environment(layout),
        log_file=layout.directory / "logs" / f"{name}.log",
        probe=probe,
    )


def _is_ready(port: int) -> bool:
    return asyncio.run(fetch(f"{url(HOST, port, tls.admin_scheme())}/readyz", 1, tls.client_context())).status == 200


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
