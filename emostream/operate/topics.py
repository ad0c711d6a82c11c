"""`emostream topics apply`: makes the topics, keeps their sizes and settings as configured, and begins a stream.

What must change is worked out apart from doing it, so that `--check` shows exactly what would be done.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import BrokerResponseError

from emostream.config import ClustersSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.model import (
    DEAD_LETTER_TOPIC,
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    WARMUP_TOPIC,
    Swarm,
    new_stream_id,
)
from emostream.operate import backup, replicas
from emostream.operate.backup import Backup
from emostream.runtime.kafka import admin_client, explained_errors
from emostream.swarms.log import SwarmLog, describe_reactions, last_swarm
from emostream.swarms.rules import RECOVERY_COMMAND, NotASwarmError, ReactionsTopic, first_swarm, stream_of

# All others are one ordered log each. The warm-up reads a topic like the real one.
_PARTITIONED = {REACTIONS_TOPIC, WARMUP_TOPIC}

_TRANSACTIONS = "__transaction_state"
_KAFKAS_OWN = ("__consumer_offsets", _TRANSACTIONS)

_DEAD_LETTER_RETENTION_MS = 7 * 24 * 3_600_000
_DEAD_LETTER_RETENTION_BYTES = 1 << 30
# Nobody needs its records once they are counted. A segment of the time, because whole segments go.
_WARMUP_RETENTION_MS = 600_000
_TRANSACTION_TIMEOUT_MS = 10_000
_CREATE_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Topic:
    """A topic as it should be, or as it is; `configs` are Kafka's names and values.

    `copies` is how many each partition should have, and `placement` is where they are.
    """

    name: str
    partitions: int
    copies: int
    configs: Mapping[str, str] = field(default_factory=dict)
    placement: replicas.Placement = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One thing to do to a topic: to make it (`create`), to move copies, or to change its `partitions` or `configs`."""

    topic: Topic
    create: bool = False
    moves: replicas.Placement = field(default_factory=dict)
    partitions: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.create:
            return f"{self.topic.name}: create it with {_plural(self.topic.partitions, 'partition')}"
        if self.moves:
            return f"{self.topic.name}: move or add copies of {_plural(len(self.moves), 'partition')}"
        if self.partitions:
            return f"{self.topic.name}: grow to {_plural(self.partitions, 'partition')}"
        return f"{self.topic.name}: set " + ", ".join(f"{name}={value}" for name, value in self.configs.items())


def wanted_topics(settings: KafkaSettings, names: Iterable[str]) -> list[Topic]:
    """The topics of these names as the settings want them; a name that is none of the fixed ones is a cluster's."""
    return [_wanted(settings, name) for name in names]


@dataclass(frozen=True)
class Brokers:
    """The ids of the brokers that are up, and of those that shall have no copies."""

    up: frozenset[int]
    leaving: frozenset[int] = frozenset()


def changes(wanted: Topic, found: Topic | None, brokers: Brokers) -> list[Change]:
    """What makes `found` as wanted, in this order. Too many partitions or copies are no change.

    Copies come before the settings, which may demand that a record is in several. Raises EmoStreamError where a topic
    that is one ordered log has several partitions, and where there are too few brokers.
    """
    if found is None:
        if len(brokers.up) < wanted.copies:
            raise EmoStreamError(f"{wanted.name}: {replicas.too_few(wanted.copies, len(brokers.up))}")
        return [Change(wanted, create=True)]
    if wanted.partitions == 1 < found.partitions and wanted.name not in _PARTITIONED:
        raise EmoStreamError(
            f"{wanted.name} has {found.partitions} partitions, but its order requires a single one: delete the topic "
            "and apply again."
        )
    needed = []
    try:
        moves = replicas.moves(found.placement, brokers.up, wanted.copies, brokers.leaving)
    except EmoStreamError as error:
        raise EmoStreamError(f"{wanted.name}: {error}") from error
    if moves:
        needed.append(Change(wanted, moves=moves))
    if found.partitions < wanted.partitions:
        needed.append(Change(wanted, partitions=wanted.partitions))
    configs = {name: value for name, value in wanted.configs.items() if found.configs.get(name) != value}
    if configs:
        needed.append(Change(wanted, configs=configs))
    return needed


@dataclass(frozen=True)
class Restore:
    """A backup with whose totals a new stream goes on, and the ZooKeeper that gets its table of events."""

    backup: Backup
    zookeeper: ZooKeeperSettings


def apply(  # noqa: PLR0913 - each has a name at the call
    kafka: KafkaSettings,
    clusters: ClustersSettings,
    *,
    without: Collection[int] = (),
    new_stream: bool = False,
    restore: Restore | None = None,
    check: bool = False,
) -> list[str]:
    """Do (or with `check` only find) what is needed, and say it, a sentence a change; none where all is as wanted.

    The brokers with the ids `without` are about to leave: they shall have no copies. They keep those of topics that are
    not ours.
    A stream begins, with record 0 of `swarms`, where `swarms` is made or `new_stream` asks for it; that fences an
    aggregator that runs. With `restore`, the stream goes on with the totals of a backup. Raises EmoStreamError where a
    broker refuses, where `swarms` is empty and nobody asked, and where a restore would replace what was counted.
    """
    done = []
    for brokers, names in topics_by_brokers(kafka, clusters).items():
        with admin_client(brokers) as admin, explained_errors(brokers):
            done += _reconcile(admin, [*wanted_topics(kafka, names), *_kafkas_own(kafka)], without, check)
    makes_swarms = any(change.create and change.topic.name == SWARMS_TOPIC for change in done)
    sentences = [str(change) for change in done]
    if restore is not None:
        sentences.append(_restore(kafka, restore, makes_swarms=makes_swarms, check=check))
    elif makes_swarms or new_stream:
        sentences.append(f"{SWARMS_TOPIC}: begin a new stream" if check else _begin_stream(kafka))
    elif last_swarm(kafka) is None:
        raise EmoStreamError(
            f"{SWARMS_TOPIC} exists but is empty, so it is not known what was counted: to count all that "
            f"{REACTIONS_TOPIC} holds in a new stream, run `{RECOVERY_COMMAND}`, with `--totals-from FILE` if there is "
            "a backup."
        )
    return sentences


def _wanted(settings: KafkaSettings, name: str) -> Topic:
    configs: dict[str, Any] = {
        "cleanup.policy": "delete",
        "max.message.bytes": settings.max_record_bytes,
        "min.insync.replicas": settings.min_insync_replicas,
        # A replica that lags must never become the leader: what it lacks was acknowledged.
        "unclean.leader.election.enable": "false",
        **_retention(settings, name),
    }
    partitions = settings.reactions_partitions if name in _PARTITIONED else 1
    return Topic(name, partitions, settings.replication_factor, {key: str(value) for key, value in configs.items()})


def _retention(settings: KafkaSettings, name: str) -> dict[str, int]:
    if name == REACTIONS_TOPIC:
        size = _bounded(settings, settings.reactions_retention_bytes)
        return {"retention.ms": settings.reactions_retention_ms, **size}
    if name == DEAD_LETTER_TOPIC:
        return {"retention.ms": _DEAD_LETTER_RETENTION_MS, "retention.bytes": _DEAD_LETTER_RETENTION_BYTES}
    if name == WARMUP_TOPIC:
        return {"retention.ms": _WARMUP_RETENTION_MS, "segment.ms": _WARMUP_RETENTION_MS}
    # Their last record is state: kept by size, never by age.
    return {"retention.ms": -1, **_bounded(settings, settings.swarms_retention_bytes)}


def _bounded(settings: KafkaSettings, retention_bytes: int) -> dict[str, int]:
    """What bounds a partition. Whole segments go, so they must be smaller than the rest."""
    segment_bytes = min(max(retention_bytes // 8, settings.max_record_bytes), 1 << 30)
    return {"retention.bytes": retention_bytes, "segment.bytes": segment_bytes}


def topics_by_brokers(kafka: KafkaSettings, clusters: ClustersSettings) -> dict[Sequence[str], list[str]]:
    """Topic names by the brokers that they are on; `swarms` last, so that a stream begins when all else is there."""
    topics: dict[Sequence[str], list[str]] = {}
    for cluster in clusters.names:
        topics.setdefault(clusters.brokers_of(cluster) or kafka.bootstrap_servers, []).append(cluster)
    ours = [REACTIONS_TOPIC, DEAD_LETTER_TOPIC, WARMUP_TOPIC, SWARMS_TOPIC]
    topics.setdefault(kafka.bootstrap_servers, []).extend(ours)
    return topics


def _kafkas_own(settings: KafkaSettings) -> list[Topic]:
    """Kafka's topics of positions and of transactions, which it makes by itself when it needs them first."""
    configs = {_TRANSACTIONS: {"min.insync.replicas": str(settings.min_insync_replicas)}}
    return [Topic(name, 0, settings.replication_factor, configs.get(name, {})) for name in _KAFKAS_OWN]


def _reconcile(admin: KafkaAdminClient, wanted: Sequence[Topic], without: Collection[int], check: bool) -> list[Change]:
    if not check:
        # What an earlier run began.
        replicas.wait(admin, [topic.name for topic in wanted])
    up = frozenset(broker["broker_id"] for broker in admin.describe_cluster()["brokers"])
    brokers = Brokers(up, frozenset(without))
    found = _find(admin, wanted)
    expected = [topic for topic in wanted if topic.name in found or topic.name not in _KAFKAS_OWN]
    needed = [change for topic in expected for change in changes(topic, found.get(topic.name), brokers)]
    if not check:
        for change in needed:
            _carry_out(admin, change)
    return needed


def _find(admin: KafkaAdminClient, wanted: Sequence[Topic]) -> dict[str, Topic]:
    described = [each for each in admin.describe_topics([topic.name for topic in wanted]) if not each["error_code"]]
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, list(topic.configs))
        for topic in wanted
        if topic.configs and topic.name in {each["name"] for each in described}
    ]
    configs = admin.describe_configs(resources, config_filter="all").get("topic", {}) if resources else {}
    return {
        each["name"]: Topic(
            each["name"],
            len(each["partitions"]),
            len(each["partitions"][0]["replica_nodes"]),
            {name: entry["value"] for name, entry in configs.get(each["name"], {}).items()},
            {partition["partition_index"]: partition["replica_nodes"] for partition in each["partitions"]},
        )
        for each in described
    }


def _carry_out(admin: KafkaAdminClient, change: Change) -> None:
    topic = change.topic
    try:
        if change.create:
            made = NewTopic(topic.name, topic.partitions, topic.copies, topic_configs=dict(topic.configs))
            admin.create_topics([made], timeout_ms=_CREATE_TIMEOUT_MS)
            admin.wait_for_topics([topic.name], timeout_ms=_CREATE_TIMEOUT_MS)
        elif change.moves:
            replicas.move(admin, topic.name, change.moves)
        elif change.partitions:
            admin.create_partitions({topic.name: change.partitions}, timeout_ms=_CREATE_TIMEOUT_MS)
        else:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(change.configs))
            answer = admin.alter_configs([resource])["topic"][topic.name]
            if answer != "OK":
                raise EmoStreamError(f"{change}: the broker refused ({answer}).")
    except BrokerResponseError as error:
        raise EmoStreamError(f"{change}: the broker refused ({type(error).__name__}: {error.description})") from error


def describe(kafka: KafkaSettings, clusters: ClustersSettings) -> dict[str, backup.TopicInfo]:
    """Return the topics that there are, by name, with those of their settings that `apply` sets."""
    found = {}
    for brokers, names in topics_by_brokers(kafka, clusters).items():
        with admin_client(brokers) as admin, explained_errors(brokers):
            found.update(_find(admin, wanted_topics(kafka, names)))
    return {name: backup.TopicInfo(each.partitions, each.copies, dict(each.configs)) for name, each in found.items()}


def _restore(kafka: KafkaSettings, restore: Restore, *, makes_swarms: bool, check: bool) -> str:
    if not (check and makes_swarms):
        # Before the table is changed, and an aggregator is fenced.
        backup.refuse_counted(_known(lambda: last_swarm(kafka)))
    if check:
        return f"{SWARMS_TOPIC}: begin a new stream with {restore.backup}"
    table = backup.restore_table(restore.backup, restore.zookeeper, kafka)
    return f"{_begin_stream(kafka, partial(backup.first_record, restore.backup, table))}, with {restore.backup}"


def _anew(reactions: ReactionsTopic, last: Swarm | None, now_ms: int) -> Swarm:
    return first_swarm(new_stream_id(now_ms, stream_of(last) if last else None), reactions, last)


def _begin_stream(kafka: KafkaSettings, first: Callable[[ReactionsTopic, Swarm | None, int], Swarm] = _anew) -> str:
    """Write record 0 of a stream, which `first` makes. It follows the last record of the stream before."""
    with SwarmLog(kafka, _TRANSACTION_TIMEOUT_MS) as log:
        record = first(describe_reactions(kafka), _known(log.last), int(time.time() * 1000))
        log.append(record)
    return f"{SWARMS_TOPIC}: began a new stream with record {record.id}"


def _known(last: Callable[[], Swarm | None]) -> Swarm | None:
    try:
        return last()
    except NotASwarmError:
        # It is what the operator recovers from.
        return None


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
