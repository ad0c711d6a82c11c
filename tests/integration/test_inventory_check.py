"""A wrong inventory is refused before anything is changed, with its remedy. The project's inventories pass."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.control import INVENTORIES, play

Inventory = dict[str, Any]


def _no_broker(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"] = {}


def _no_group_of_publishers(inventory: Inventory) -> None:
    del inventory["children"]["publisher"]


def _even_ensemble(inventory: Inventory) -> None:
    inventory["children"]["zookeeper"]["hosts"]["kafka1"] = None


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


def _cluster_without_publisher(inventory: Inventory) -> None:
    inventory["children"]["publisher"]["hosts"]["publisher1"] = {"publisher_clusters": ["cluster1", "cluster3"]}


def _more_heap_than_memory(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"]["kafka1"] = {"kafka_heap_mib": 2048}


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
    _cluster_without_publisher: "No publisher serves cluster2: add it to publisher_clusters of a host",
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
    refused = play("site.yml", inventory=path, seconds=200)
    assert refused.status == 2, refused.output
    assert REMEDIES[spoil] in " ".join(refused.output.split()), refused.output
    assert "Look at the hosts" not in refused.output, "it went on to the hosts"


@pytest.mark.parametrize("name", sorted(path.name for path in INVENTORIES.iterdir()))
def test_the_projects_inventories_pass(name: str) -> None:
    passed = play("playbooks/inventory.yml", inventory=INVENTORIES / name, seconds=200)
    assert passed.status == 0, passed.output
