"""`emostream topics apply` on a real broker: it creates and updates topics, and begins a stream once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from emostream import cli
from emostream.config import KafkaSettings
from emostream.model import REACTIONS_TOPIC, SWARMS_TOPIC
from emostream.operate import broker as broker_of_host
from emostream.runtime.kafka import admin_client, durable_producer
from emostream.swarms.log import describe_reactions, last_swarm
from emostream.swarms.rules import progress_of
from emostream_lab.processes import servers
from tests.conftest import Server, running_broker, running_zookeeper
from tests.integration.viewers import wait_until


@pytest.fixture(scope="module")
def directory(server_dir: Path) -> Path:
    return server_dir / "topics"


@pytest.fixture(scope="module")
def own_zookeeper(directory: Path) -> Iterator[Server]:
    with running_zookeeper(directory) as zookeeper:
        yield zookeeper


@pytest.fixture(scope="module")
def broker(directory: Path, own_zookeeper: Server) -> Iterator[Server]:
    """A broker that has no topic yet, with a ZooKeeper of its own."""
    with running_broker(directory, own_zookeeper) as broker:
        yield broker


@pytest.fixture
def settings(broker: Server, kafka: Server, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """The second cluster has brokers of its own: those that the session shares."""
    monkeypatch.setenv("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", broker.address)
    monkeypatch.setenv("EMOSTREAM_CLUSTERS_NAMES", "near,far")
    monkeypatch.setenv("EMOSTREAM_CLUSTERS_BROKERS", f"far={kafka.address}")
    return KafkaSettings(bootstrap_servers=(broker.address,))


def apply(*flags: str) -> Result:
    """Only stdout counts: on a busy machine kafka-python warns of slow answers on stderr."""
    return CliRunner().invoke(cli.main, ["topics", "apply", *flags])


def names(server: Server) -> set[str]:
    with admin_client((server.address,)) as admin:
        return set(admin.list_topics())


def test_from_nothing_to_a_stream_and_back(
    settings: KafkaSettings, broker: Server, kafka: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test of many steps, because each step continues from the one before."""
    planned = apply("--check")
    assert planned.exit_code == 1
    assert planned.stdout.splitlines()[-1] == "changed=7"
    assert names(broker) == set()

    made = apply()
    assert made.exit_code == 0, made.output
    assert made.stdout.splitlines()[-1] == "changed=7"
    assert {REACTIONS_TOPIC, "reactions.dead-letter", SWARMS_TOPIC, "near"} <= names(broker)
    assert "far" not in names(broker)
    assert "far" in names(kafka)
    first = last_swarm(settings)
    assert first is not None
    assert first.sequence == 0
    assert progress_of(first).offsets == {str(partition): 0 for partition in range(4)}
    assert progress_of(first).reactions_topic_id == describe_reactions(settings).id

    for flags in ((), ("--check",)):
        again = apply(*flags)
        assert (again.exit_code, again.stdout) == (0, "changed=0\n")
    assert last_swarm(settings) == first

    monkeypatch.setenv("EMOSTREAM_KAFKA_REACTIONS_PARTITIONS", "5")
    monkeypatch.setenv("EMOSTREAM_KAFKA_REACTIONS_RETENTION_MS", "3600000")
    grown = apply()
    assert grown.stdout.splitlines() == [
        "reactions: grow to 5 partitions",
        "reactions: set retention.ms=3600000",
        "reactions.warm-up: grow to 5 partitions",
        "changed=3",
    ]
    assert apply().stdout == "changed=0\n"
    resource = ConfigResource(ConfigResourceType.TOPIC, REACTIONS_TOPIC, ["retention.ms"])
    with admin_client(settings.bootstrap_servers) as admin:
        configs = admin.describe_configs([resource], config_filter="all")["topic"][REACTIONS_TOPIC]
    assert configs["retention.ms"]["value"] == "3600000"

    with durable_producer(settings) as producer:
        producer.send(REACTIONS_TOPIC, b"[]", partition=0).get(60)
    begun = apply("--new-stream")
    assert begun.stdout.splitlines()[-1] == "changed=1"
    second = last_swarm(settings)
    assert second is not None
    assert second.sequence == 0
    assert second.id != first.id
    # Nothing was counted yet, so the new stream begins where the old one did.
    assert progress_of(second).offsets == {str(partition): 0 for partition in range(5)}

    with admin_client(settings.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(SWARMS_TOPIC, 0): -1})
    emptied = apply()
    assert emptied.exit_code == 1
    assert "emostream topics apply --new-stream" in emptied.output
    assert apply("--new-stream").exit_code == 0
    assert last_swarm(settings) is not None


def test_a_setting_that_a_broker_refuses_is_said_in_one_sentence(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.bootstrap_servers
    apply()
    monkeypatch.setenv("EMOSTREAM_KAFKA_MAX_RECORD_BYTES", str(1 << 32))
    refused = apply()
    assert refused.exit_code == 1
    assert "near: set max.message.bytes=4294967296, segment.bytes=1073741824: the broker refused (" in refused.output


TOPICS = (REACTIONS_TOPIC, SWARMS_TOPIC, "near", "__transaction_state")


def copies(settings: KafkaSettings) -> dict[str, list[set[int]]]:
    """The brokers that have all records of each partition, by topic."""
    with admin_client(settings.bootstrap_servers) as admin:
        described = admin.describe_topics(list(TOPICS))
    return {each["name"]: [set(partition["isr_nodes"]) for partition in each["partitions"]] for each in described}


def _restart_when_in_sync(server: Server, settings: KafkaSettings) -> None:
    """Stop broker 3 as a roll does, start it, and wait until the next one may be stopped."""

    def known() -> broker_of_host.Metadata:
        return broker_of_host.metadata(servers.HOST, server.port)

    broker_of_host.wait_until_in_sync(known, 3, 60)
    found = known()
    assert (found.brokers, found.controller, found.failing) == ({1, 2, 3}, 1, set())
    assert {each.name for each in found.partitions} >= {f"{REACTIONS_TOPIC}/0", f"{SWARMS_TOPIC}/0"}
    server.process.stop()
    first = int(settings.bootstrap_servers[0].rpartition(":")[2])
    wait_until(lambda: f"{SWARMS_TOPIC}/0" in broker_of_host.metadata(servers.HOST, first).lacking(), 30)
    with pytest.raises(broker_of_host.BrokerError, match="under-replicated"):
        broker_of_host.wait_until_in_sync(lambda: broker_of_host.metadata(servers.HOST, first), 1, 0)
    server.process.start()
    broker_of_host.wait_until_in_sync(known, 3, 120)
    assert known().lacking() == []


def test_copies_spread_over_new_brokers_and_leave_one_that_goes(
    settings: KafkaSettings, directory: Path, own_zookeeper: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSTREAM_CLUSTERS_NAMES", "near")
    monkeypatch.delenv("EMOSTREAM_CLUSTERS_BROKERS")
    apply()
    before = last_swarm(settings)
    monkeypatch.setenv("EMOSTREAM_KAFKA_REPLICATION_FACTOR", "3")
    alone = apply()
    assert alone.exit_code == 1
    assert "3 copies need as many brokers, but 1 are up and stay" in alone.output
    with running_broker(directory, own_zookeeper, 2), running_broker(directory, own_zookeeper, 3) as third:
        monkeypatch.setenv("EMOSTREAM_KAFKA_MIN_INSYNC_REPLICAS", "2")
        spread = apply()
        assert spread.exit_code == 0, spread.output
        assert f"{SWARMS_TOPIC}: move or add copies of 1 partition" in spread.stdout
        for topic in TOPICS:
            assert f"{topic}: set min.insync.replicas=2" in spread.stdout
        assert {topic: set(map(frozenset, on)) for topic, on in copies(settings).items()} == {
            topic: {frozenset({1, 2, 3})} for topic in TOPICS
        }
        assert apply().stdout == "changed=0\n"

        monkeypatch.setenv("EMOSTREAM_KAFKA_REPLICATION_FACTOR", "2")
        assert apply().stdout == "changed=0\n"
        left = apply("--without", "1")
        assert left.exit_code == 0, left.output
        assert {topic: set(map(frozenset, on)) for topic, on in copies(settings).items()} == {
            topic: {frozenset({2, 3})} for topic in TOPICS
        }
        assert last_swarm(settings) == before
        _restart_when_in_sync(third, settings)
