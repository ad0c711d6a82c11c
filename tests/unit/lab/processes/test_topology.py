"""Tests that the topology is complete, that its ports are unique, and that single tiers can be started."""

import socket
from pathlib import Path

import pytest

from emostream import config
from emostream.errors import EmoStreamError
from emostream_lab.processes import topology
from emostream_lab.processes.topology import TIERS, Layout, Ports


def test_the_default_is_three_clusters_of_three_subscribers_and_every_tier(tmp_path: Path) -> None:
    parts = topology.parts(Layout(tmp_path))
    tiers = [part.tier for part in parts]
    assert set(tiers) == set(TIERS) - {"canary", "prometheus"}
    assert tiers.count("subscriber") == 9
    assert tiers.count("publisher") == 3
    assert len({part.name for part in parts}) == len(parts)
    ports = [port for part in parts for port in part.ports]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("has_tls", [False, True])
def test_each_need_is_a_tier_or_a_process_that_comes_earlier(tmp_path: Path, has_tls: bool) -> None:
    seen: set[str] = set()
    for part in topology.parts(Layout(tmp_path, has_tls=has_tls)):
        assert set(part.needs) <= seen
        seen |= {part.tier, part.name}


def test_with_tls_each_process_has_the_certificate_of_its_tier_and_cluster(tmp_path: Path) -> None:
    layout = Layout(tmp_path, has_tls=True)
    topology.write_certificates(layout)
    identities = {}
    for part in topology.parts(layout):
        if file := part.process.environment.get("EMOSTREAM_TLS_IDENTITY_FILE"):
            assert Path(file).exists()
            identities[part.name] = Path(file).name
    assert identities["publisher@cluster2"] == "publisher@cluster2.pem"
    assert identities["subscriber@9009"] == "subscriber@cluster3.pem"
    assert identities["ingest"] == "ingest.pem"
    assert identities["acls"] == identities["topics"] == "operator.pem"


def test_with_metrics_prometheus_asks_every_process_that_stays(tmp_path: Path) -> None:
    parts = topology.parts(Layout(tmp_path, has_metrics=True))
    ports = [port for part in parts for port in part.ports]
    assert len(set(ports)) == len(ports)
    targets = topology.targets(parts)
    asked = {target["labels"]["instance"] for target in targets}
    assert asked == {part.name for part in parts} - {"topics", "prometheus"}
    [edge] = [target for target in targets if target["labels"]["instance"] == "subscriber@9004"]
    assert edge["targets"] == ["127.0.0.1:10004"]
    assert edge["labels"]["cluster"] == "cluster2"
    assert (
        topology.targets(topology.parts(Layout(tmp_path, spark_master="local[2]")))[0]["labels"]["tier"] == "registry"
    )


def test_the_environment_holds_settings_only(tmp_path: Path) -> None:
    assert config.unknown_variables(topology.environment(Layout(tmp_path))) == []


def test_without_a_standalone_master_there_is_no_spark(tmp_path: Path) -> None:
    layout = Layout(tmp_path, spark_master="local[2]")
    assert "spark" not in {part.tier for part in topology.parts(layout)}
    assert topology.environment(layout)["EMOSTREAM_AGGREGATOR_SPARK_MASTER"] == "local[2]"


def test_a_choice_of_tiers_leaves_the_rest_out_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    parts = topology.parts(Layout(tmp_path))
    assert {part.name for part in topology.select(parts, ("kafka", "spark"))} == {
        "kafka",
        "spark-master",
        "spark-worker",
    }
    with pytest.raises(EmoStreamError, match="there is no tier kafak: choose from zookeeper,kafka,"):
        topology.select(parts, ("kafak",))


def test_a_port_that_something_else_listens_on_is_found(tmp_path: Path) -> None:
    parts = topology.parts(Layout(tmp_path, Ports.free(clusters=1, subscribers_per_cluster=1)))
    assert topology.ports_in_use(parts) == []
    kafka = next(part for part in parts if part.tier == "kafka")
    with socket.create_server(("127.0.0.1", kafka.port or 0)):
        assert topology.ports_in_use(parts) == [(kafka.port, kafka)]
