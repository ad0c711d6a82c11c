"""What each tier may do in Kafka and ZooKeeper, as data: `emostream acls apply` brings it about. Pure.

An identity is the subject of a certificate: CN is the tier, OU the cluster. Whatever is not in these tables is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from emostream.model import DEAD_LETTER_TOPIC, REACTIONS_TOPIC, SWARMS_TOPIC, WARMUP_TOPIC
from emostream.swarms.log import TRANSACTIONAL_ID

# Stands for the cluster of the identity, and so for its topic.
CLUSTER = "<cluster>"
_CLUSTER_TIERS = ("publisher", "subscriber")
# They may do everything: the brokers in Kafka, operators in both. The servers' own configuration says so.
OPERATOR = "CN=operator"
BROKER = "CN=kafka"

Resource = Literal["topic", "group", "transactional id"]


@dataclass(frozen=True, order=True)
class Right:
    """What an identity may do with a resource of Kafka. Who may read or write a topic may also ask for its ends."""

    subject: str
    resource: Resource
    name: str
    operation: Literal["read", "write"]
    is_prefix: bool = False
    """Whether `name` is how the names of the resources begin."""

    @property
    def names(self) -> str:
        """The names that it covers."""
        return f"{self.name}*" if self.is_prefix else self.name


@dataclass(frozen=True)
class Node:
    """A node of ZooKeeper, which every identity may read. What `writers` may do with it is `how`.

    children: make and delete nodes below it. content: set what it holds. all: also decide who may do what with it.
    """

    path: str
    writers: tuple[str, ...] = ()
    how: Literal["children", "content", "all"] = "children"


@dataclass(frozen=True)
class _Row:
    """Operations of a tier in Kafka, before the clusters are known."""

    tier: str
    resource: Resource
    name: str
    operations: tuple[Literal["read", "write"], ...]
    is_prefix: bool = False


# Spark names the groups of its consumers so. They commit nothing.
_SPARK_GROUPS = "spark-kafka-source-"
_ROWS = (
    _Row("ingest", "topic", REACTIONS_TOPIC, ("write",)),
    _Row("aggregator", "topic", REACTIONS_TOPIC, ("read",)),
    _Row("aggregator", "topic", WARMUP_TOPIC, ("read", "write")),
    _Row("aggregator", "topic", SWARMS_TOPIC, ("read", "write")),
    _Row("aggregator", "topic", DEAD_LETTER_TOPIC, ("write",)),
    _Row("aggregator", "transactional id", TRANSACTIONAL_ID, ("write",)),
    _Row("aggregator", "group", _SPARK_GROUPS, ("read",), is_prefix=True),
    _Row("spark-worker", "topic", REACTIONS_TOPIC, ("read",)),
    _Row("spark-worker", "topic", WARMUP_TOPIC, ("read",)),
    _Row("spark-worker", "group", _SPARK_GROUPS, ("read",), is_prefix=True),
    _Row("publisher", "topic", SWARMS_TOPIC, ("read",)),
    _Row("publisher", "topic", CLUSTER, ("read", "write")),
    _Row("subscriber", "topic", CLUSTER, ("read",)),
    _Row("audit", "topic", REACTIONS_TOPIC, ("read",)),
    _Row("audit", "topic", SWARMS_TOPIC, ("read",)),
    # An audience of `emostream-lab crowd`, which accounts for what it sent.
    _Row("crowd", "topic", REACTIONS_TOPIC, ("read",)),
    _Row("crowd", "topic", SWARMS_TOPIC, ("read",)),
)

_MIB = 1 << 20
# The most that all processes of an identity may do together at one broker, in Kafka's words: bytes a second, and the
# part of one of its threads in percent. This is far above what a tier does, so it slows only one that is out of order.
# The aggregator has none: what it reads late, viewers see late.
QUOTAS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "ingest": {"producer_byte_rate": 512 * _MIB, "consumer_byte_rate": _MIB},
        "publisher": {"producer_byte_rate": 64 * _MIB, "consumer_byte_rate": 64 * _MIB, "request_percentage": 100},
        "subscriber": {"producer_byte_rate": _MIB, "consumer_byte_rate": 256 * _MIB, "request_percentage": 100},
        "audit": {"producer_byte_rate": _MIB, "consumer_byte_rate": 512 * _MIB, "request_percentage": 100},
    }
)

# The services that register below /services, each below a node of its own.
_SERVICES = ("ingest", "aggregator", "publisher", "registry", "audit")


def subject(tier: str, cluster: str = "") -> str:
    """The name in a certificate."""
    return f"CN={tier},OU={cluster}" if cluster else f"CN={tier}"


def subjects(clusters: Sequence[str]) -> list[str]:
    """Every identity that the tables name, without the servers and operators."""
    tiers = dict.fromkeys((*(row.tier for row in _ROWS), *_SERVICES, "spark-master"))
    return [name for tier in tiers for name in _subjects(tier, clusters)]


def kafka_rights(clusters: Sequence[str]) -> list[Right]:
    """All rights in Kafka."""
    return list(_rights(clusters))


def zookeeper_nodes(root: str, clusters: Sequence[str]) -> list[Node]:
    """The nodes that must be there, each before those below it. `root` is above all nodes of EmoStream."""
    above = ["/".join(root.split("/")[:depth]) for depth in range(2, root.count("/") + 2)]
    return [
        Node("/kafka", (BROKER,), "all"),
        Node("/spark", (subject("spark-master"),), "all"),
        *map(Node, above),
        Node(f"{root}/events", (subject("aggregator"),), "content"),
        Node(f"{root}/services"),
        *(Node(f"{root}/services/{tier}", tuple(_subjects(tier, clusters))) for tier in _SERVICES),
        Node(f"{root}/subscribers"),
        *(Node(f"{root}/subscribers/{each}", (subject("subscriber", each),)) for each in clusters),
        Node(f"{root}/elections"),
        Node(f"{root}/elections/aggregator", (subject("aggregator"),)),
        Node(f"{root}/elections/publisher"),
        *(Node(f"{root}/elections/publisher/{each}", (subject("publisher", each),)) for each in clusters),
        # The last one: where certificates do not count, the others fail, and nothing is closed.
        Node("/"),
    ]


def quotas(clusters: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """The quotas of each identity that has some."""
    return {name: quota for tier, quota in QUOTAS.items() for name in _subjects(tier, clusters)}


def _rights(clusters: Sequence[str]) -> Iterator[Right]:
    for row in _ROWS:
        for cluster in clusters if row.tier in _CLUSTER_TIERS else [""]:
            name = row.name.replace(CLUSTER, cluster)
            for operation in row.operations:
                yield Right(subject(row.tier, cluster), row.resource, name, operation, row.is_prefix)


def _subjects(tier: str, clusters: Sequence[str]) -> list[str]:
    return [subject(tier, each) for each in clusters] if tier in _CLUSTER_TIERS else [subject(tier)]
