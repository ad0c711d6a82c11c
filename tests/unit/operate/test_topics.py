"""Changes of a topic are found without changing it, and retention is what the guarantees need."""

from dataclasses import replace

import pytest

from emostream.config import ClustersSettings, KafkaSettings, load
from emostream.errors import ConfigurationError, EmoStreamError
from emostream.model import DEAD_LETTER_TOPIC, REACTIONS_TOPIC, SWARMS_TOPIC, WARMUP_TOPIC
from emostream.operate.topics import Brokers, Change, Topic, wanted_topics
from emostream.operate.topics import changes as changes_by

SETTINGS = KafkaSettings(reactions_partitions=4, replication_factor=3, min_insync_replicas=2)
REACTIONS, DEAD_LETTERS, WARMUP, SWARMS, CLUSTER = ALL = wanted_topics(
    SETTINGS, [REACTIONS_TOPIC, DEAD_LETTER_TOPIC, WARMUP_TOPIC, SWARMS_TOPIC, "cluster1"]
)


def found(topic: Topic, partitions: int | None = None, **configs: str) -> Topic:
    """The topic as a broker describes it, with other settings too."""
    named = {name.replace("_", "."): value for name, value in configs.items()}
    known = {**topic.configs, "flush.ms": "1", **named}
    placement = {0: [1, 2, 3]}
    return Topic(topic.name, partitions or topic.partitions, topic.copies, known, placement)


def changes(wanted: Topic, found: Topic | None, *up: int) -> list[Change]:
    return changes_by(wanted, found, Brokers(frozenset(up or (1, 2, 3))))


def test_only_reactions_real_or_made_up_have_partitions_and_an_age() -> None:
    assert [topic.partitions for topic in ALL] == [4, 1, 4, 1, 1]
    assert int(WARMUP.configs["retention.ms"]) < 3_600_000
    assert REACTIONS.configs["retention.ms"] == str(24 * 3_600_000)
    for topic in (SWARMS, CLUSTER):
        assert topic.configs["retention.ms"] == "-1"
        assert topic.configs["retention.bytes"] == str(1 << 30)


def test_an_acknowledged_record_is_never_given_up() -> None:
    for topic in ALL:
        assert topic.copies == 3
        assert topic.configs["min.insync.replicas"] == "2"
        assert topic.configs["unclean.leader.election.enable"] == "false"
        assert topic.configs["cleanup.policy"] == "delete"


@pytest.mark.parametrize("retention_bytes", [1 << 20, 1 << 30, 1 << 40])
def test_a_segment_holds_any_record_and_several_make_up_what_is_kept(retention_bytes: int) -> None:
    settings = KafkaSettings(swarms_retention_bytes=retention_bytes, reactions_retention_bytes=retention_bytes)
    for topic in wanted_topics(settings, [SWARMS_TOPIC, REACTIONS_TOPIC]):
        assert topic.configs["retention.bytes"] == str(retention_bytes)
        assert settings.max_record_bytes <= int(topic.configs["segment.bytes"]) < 1 << 31


def test_a_missing_topic_is_made() -> None:
    (change,) = changes(SWARMS, None)
    assert change.create
    assert str(change) == "swarms: create it with 1 partition"


def test_a_topic_as_wanted_needs_nothing() -> None:
    for topic in ALL:
        assert changes(topic, found(topic)) == []


def test_partitions_grow_but_are_never_taken_away() -> None:
    (change,) = changes(REACTIONS, found(REACTIONS, partitions=2))
    assert str(change) == "reactions: grow to 4 partitions"
    assert changes(REACTIONS, found(REACTIONS, partitions=8)) == []


def test_a_setting_that_differs_is_set() -> None:
    (change,) = changes(REACTIONS, found(REACTIONS, retention_ms="1"))
    assert change.configs == {"retention.ms": "86400000"}
    assert str(change) == "reactions: set retention.ms=86400000"


def test_copies_come_before_the_settings_that_demand_them() -> None:
    one_copy = replace(found(SWARMS, min_insync_replicas="1"), placement={0: [2]})
    assert [str(change) for change in changes(SWARMS, one_copy)] == [
        "swarms: move or add copies of 1 partition",
        "swarms: set min.insync.replicas=2",
    ]
    with pytest.raises(EmoStreamError, match="swarms: 3 copies need as many brokers, but 2 are up and stay"):
        changes(SWARMS, one_copy, 1, 2)


def test_an_ordered_log_of_several_partitions_is_refused() -> None:
    with pytest.raises(EmoStreamError, match="swarms has 2 partitions"):
        changes(SWARMS, found(SWARMS, partitions=2))


def test_a_cluster_may_have_brokers_of_its_own() -> None:
    settings = ClustersSettings(names=("a", "b"), brokers=("b=kafka3:9092", "b=kafka4:9092"))
    assert settings.brokers_of("a") == ()
    assert settings.brokers_of("b") == ("kafka3:9092", "kafka4:9092")


@pytest.mark.parametrize("entry", ["kafka3:9092", "c=kafka3:9092", "a=kafka3"])
def test_a_broker_of_no_cluster_is_refused(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_CLUSTERS_NAMES", "a,b")
    monkeypatch.setenv("EMOSTREAM_CLUSTERS_BROKERS", entry)
    with pytest.raises(ConfigurationError, match="EMOSTREAM_CLUSTERS_BROKERS"):
        load(ClustersSettings)
