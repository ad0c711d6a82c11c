"""Each tier has rights for its own work alone."""

import pytest

from emostream.model import REACTIONS_TOPIC, SWARMS_TOPIC
from emostream.operate import rights

CLUSTERS = ["cluster1", "cluster2"]


def who(operation: str, name: str) -> set[str]:
    found = rights.kafka_rights(CLUSTERS)
    return {right.subject for right in found if (right.operation, right.name) == (operation, name)}


def test_only_ingest_writes_reactions_and_only_the_aggregator_writes_swarms() -> None:
    assert who("write", REACTIONS_TOPIC) == {"CN=ingest"}
    assert who("write", SWARMS_TOPIC) == {"CN=aggregator"}


def test_user_ids_are_read_by_none_that_faces_viewers() -> None:
    assert who("read", REACTIONS_TOPIC) == {"CN=aggregator", "CN=spark-worker", "CN=audit", "CN=crowd"}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_clusters_topic_is_for_that_cluster(cluster: str) -> None:
    assert who("write", cluster) == {f"CN=publisher,OU={cluster}"}
    assert who("read", cluster) == {f"CN=publisher,OU={cluster}", f"CN=subscriber,OU={cluster}"}


def test_each_node_comes_after_the_one_above_it() -> None:
    seen = {""}
    *nodes, last = rights.zookeeper_nodes("/a/b", CLUSTERS)
    assert last.path == "/"
    for node in nodes:
        assert node.path.rpartition("/")[0] in seen
        seen.add(node.path)
    assert {"/a", "/a/b", "/a/b/elections/publisher/cluster2"} < seen


def test_no_node_is_written_by_identities_of_two_tiers() -> None:
    for node in rights.zookeeper_nodes("/emostream", CLUSTERS):
        assert len({writer.partition(",")[0] for writer in node.writers}) <= 1, node


def test_every_identity_that_the_tables_name_is_listed() -> None:
    named = {right.subject for right in rights.kafka_rights(CLUSTERS)} | set(rights.quotas(CLUSTERS))
    named |= {writer for node in rights.zookeeper_nodes("/emostream", CLUSTERS) for writer in node.writers}
    assert set(rights.subjects(CLUSTERS)) == named - {rights.BROKER}
