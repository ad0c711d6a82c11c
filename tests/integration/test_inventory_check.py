"""A wrong inventory is refused before anything is changed, with its remedy. The project's inventories pass."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.control import INVENTORIES, PlaybookRun, play

Inventory = dict[str, Any]


def _no_broker(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"] = {}


def _no_group_of_publishers(inventory: Inventory) -> None:
    del inventory["children"]["publisher"]


def _even_ensemble(inventory: Inventory) -> None:
    inventory["children"]["zookeeper"]["hosts"]["kafka1"] = {"zookeeper_id": 2}


def _two_spark_masters(inventory: Inventory) -> None:
    inventory["children"]["spark_master"]["hosts"]["spark-worker1"] = None


def _one_address_twice(inventory: Inventory) -> None:
    inventory["hosts"]["ingest1"]["ansible_host"] = inventory["hosts"]["registry1"]["ansible_host"]


def _no_memory(inventory: Inventory) -> None:
    del inventory["hosts"]["ingest1"]["memory_mib"]


def _one_port_given_twice(inventory: Inventory) -> None:
    instances = _subscribers_of_edge1(inventory)
    instances["1"]["port"] = instances["2"]["port"] = 9101


def _port_of_another_by_default(inventory: Inventory) -> None:
    _subscribers_of_edge1(inventory)["2"]["port"] = 9001


def _port_of_an_admin_listener(inventory: Inventory) -> None:
    _subscribers_of_edge1(inventory)["2"]["port"] = 10001


def _no_cluster(inventory: Inventory) -> None:
    del _subscribers_of_edge1(inventory)["2"]["cluster"]


def _no_subscriber_on_an_edge(inventory: Inventory) -> None:
    _subscribers_of_edge1(inventory).clear()


def _no_capacity(inventory: Inventory) -> None:
    inventory["vars"] = {"subscriber_capacity": 0}


def _no_capacity_of_one(inventory: Inventory) -> None:
    _subscribers_of_edge1(inventory)["3"]["capacity"] = 0


def _no_id_of_a_broker(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"]["kafka1"] = None


def _one_id_of_two_brokers(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"]["ingest1"] = {"kafka_broker_id": 1}


def _no_id_of_a_zookeeper(inventory: Inventory) -> None:
    inventory["children"]["zookeeper"]["hosts"]["zookeeper1"] = None


def _id_that_zookeeper_does_not_take(inventory: Inventory) -> None:
    inventory["children"]["zookeeper"]["hosts"]["zookeeper1"] = {"zookeeper_id": 256}


def _cluster_without_publisher(inventory: Inventory) -> None:
    del _publishers(inventory)["cluster2"]


def _publisher_without_cluster(inventory: Inventory) -> None:
    _publishers(inventory)["cluster4"] = {"port": 8104}


def _one_port_of_two_publishers(inventory: Inventory) -> None:
    _publishers(inventory)["cluster2"]["port"] = 8101


def _no_port_of_a_publisher(inventory: Inventory) -> None:
    del _publishers(inventory)["cluster2"]["port"]


def _variable_that_is_gone(inventory: Inventory) -> None:
    inventory["children"]["publisher"]["hosts"]["publisher1"]["publisher_clusters"] = ["cluster1"]


def _more_heap_than_memory(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"]["kafka1"]["kafka_heap_mib"] = 2048


def _publishers(inventory: Inventory) -> dict[str, dict[str, Any]]:
    instances: dict[str, dict[str, Any]] = inventory["children"]["publisher"]["hosts"]["publisher1"][
        "publisher_instances"
    ]
    return instances


def _subscribers_of_edge1(inventory: Inventory) -> dict[str, dict[str, Any]]:
    instances: dict[str, dict[str, Any]] = inventory["children"]["subscriber"]["hosts"]["edge1"]["subscriber_instances"]
    return instances


REMEDIES: dict[Callable[[Inventory], None], str] = {
    _no_broker: "The group kafka of the inventory has no host: name at least one",
    _no_group_of_publishers: "The group publisher of the inventory has no host: name at least one",
    _even_ensemble: "an even ensemble survives no more losses than one host less. Name an odd number",
    _two_spark_masters: "The group spark_master has 2 hosts: name exactly one",
    _one_address_twice: "ingest1 needs an ansible_host that no other host has",
    _no_memory: "ingest1 needs an ansible_host that no other host has, and memory_mib and cores above 0",
    _one_port_given_twice: "correct subscriber_instances and subscriber_capacity of edge1",
    _port_of_another_by_default: "correct subscriber_instances and subscriber_capacity of edge1",
    _port_of_an_admin_listener: "correct subscriber_instances and subscriber_capacity of edge1",
    _no_cluster: "correct subscriber_instances and subscriber_capacity of edge1",
    _no_subscriber_on_an_edge: "correct subscriber_instances and subscriber_capacity of edge1",
    _no_capacity: "correct subscriber_instances and subscriber_capacity of edge1",
    _no_capacity_of_one: "correct subscriber_instances and subscriber_capacity of edge1",
    _no_id_of_a_broker: "kafka1 needs a kafka_broker_id from 0 to 1000 that no other broker has",
    _one_id_of_two_brokers: "kafka1 needs a kafka_broker_id from 0 to 1000 that no other broker has",
    _no_id_of_a_zookeeper: "zookeeper1 needs a zookeeper_id from 1 to 255 that no other ZooKeeper has",
    _id_that_zookeeper_does_not_take: "zookeeper1 needs a zookeeper_id from 1 to 255",
    _cluster_without_publisher: "No publisher serves cluster2: correct publisher_instances",
    _publisher_without_cluster: "No subscriber is in cluster4: correct publisher_instances",
    _one_port_of_two_publishers: "The publishers of publisher1 need different ports from 8101 to 8199",
    _no_port_of_a_publisher: "The publishers of publisher1 need different ports from 8101 to 8199",
    _variable_that_is_gone: "publisher1 sets publisher_clusters, which is gone: name each cluster with its port in",
    _more_heap_than_memory: "The heaps on kafka1 come to 2048 MiB of its 1024 MiB",
}


@pytest.fixture(scope="module")
def sound() -> Inventory:
    """The default inventory with unused addresses, so nothing can be changed by mistake."""
    inventory: Inventory = yaml.safe_load((INVENTORIES / "vagrant" / "hosts.yml").read_text())["all"]
    for number, host in enumerate(inventory["hosts"].values(), 1):
        host["ansible_host"] = f"192.0.2.{number}"
    return inventory


@pytest.mark.parametrize("spoil", REMEDIES, ids=lambda spoil: spoil.__name__.strip("_"))
def test_a_wrong_inventory_is_refused_with_its_remedy(
    sound: Inventory, spoil: Callable[[Inventory], None], tmp_path: Path
) -> None:
    wrong = copy.deepcopy(sound)
    spoil(wrong)
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": wrong}))
    refused = play("playbooks/inventory.yml", inventory=path, seconds=200)
    assert refused.status == 2, refused.output
    assert REMEDIES[spoil] in " ".join(refused.output.split()), refused.output


def test_a_wrong_inventory_is_refused_before_a_host_is_asked(sound: Inventory, tmp_path: Path) -> None:
    wrong = copy.deepcopy(sound)
    _more_heap_than_memory(wrong)
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": wrong}))
    refused = play("site.yml", inventory=path, seconds=200)
    assert refused.status == 2, refused.output
    assert REMEDIES[_more_heap_than_memory] in " ".join(refused.output.split()), refused.output
    assert "Look at the hosts" not in refused.output, "it went on to the hosts"


@pytest.mark.parametrize("name", sorted(path.name for path in INVENTORIES.iterdir()))
def test_the_projects_inventories_pass(name: str) -> None:
    passed = play("playbooks/inventory.yml", inventory=INVENTORIES / name, seconds=200)
    assert passed.status == 0, passed.output


IDENTITY_FILES = {"kafka": "meta.properties", "zookeeper": "myid"}


@pytest.fixture
def this_machine(tmp_path: Path) -> Path:
    """An inventory of one host, which is this machine, and whose data are in `tmp_path`."""
    inventory: Inventory = yaml.safe_load((INVENTORIES / "single" / "hosts.yml").read_text())["all"]
    inventory["vars"] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
    }
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": inventory}))
    return path


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        (
            "meta.properties",
            "version=0\nbroker.id=2\n",
            "has data of kafka_broker_id=2, but the inventory says kafka_bro",
        ),
        ("myid", "3\n", "has data of zookeeper_id=3, but the inventory says kafka_broker_id=1, zookeeper_id=1"),
    ],
)
def test_an_id_that_is_not_that_of_the_data_is_refused(
    this_machine: Path, name: str, content: str, remedy: str
) -> None:
    assert _look_at(this_machine).status == 0
    (this_machine.parent / name).write_text(content)
    refused = _look_at(this_machine)
    assert refused.status == 2, refused.output
    assert remedy in " ".join(refused.output.split()), refused.output


def test_the_ids_of_the_data_pass(this_machine: Path) -> None:
    (this_machine.parent / "meta.properties").write_text("version=0\nbroker.id=1\ncluster.id=1\n")
    (this_machine.parent / "myid").write_text("1\n")
    passed = _look_at(this_machine)
    assert passed.status == 0, passed.output


def _look_at(inventory: Path) -> PlaybookRun:
    files = {name: str(inventory.parent / file) for name, file in IDENTITY_FILES.items()}
    return play(
        "playbooks/identity.yml",
        "--extra-vars",
        json.dumps({"identity_files": files}),
        inventory=inventory,
        seconds=200,
    )
