"""The inventories are machines that Vagrant can make, within the memory that the project promises."""

from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
MAX_MEMORY_MIB = {"vagrant": 8 * 1024, "single": 3 * 1024, "original": 8 * 1024, "ha": 12 * 1024 + 512}


def _inventory(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "inventory" / name / "hosts.yml").read_text())["all"]
    return content


def test_every_inventory_is_known_here() -> None:
    # That of one's own machines is a pattern, and Vagrant makes none of it.
    assert {path.name for path in (REPOSITORY / "inventory").iterdir()} == {*MAX_MEMORY_MIB, "example"}


@pytest.mark.parametrize("name", MAX_MEMORY_MIB)
def test_machines_have_addresses_of_their_own_and_fit_into_memory(name: str) -> None:
    machines = _inventory(name)["hosts"].values()
    addresses = [machine["ansible_host"] for machine in machines]
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith("192.168.60.") for address in addresses)
    assert sum(machine["memory_mib"] for machine in machines) <= MAX_MEMORY_MIB[name]


@pytest.mark.parametrize("name", MAX_MEMORY_MIB)
def test_groups_name_machines_of_the_list_alone(name: str) -> None:
    inventory = _inventory(name)
    for group in inventory["children"].values():
        assert set(group["hosts"]) <= set(inventory["hosts"])


def test_no_two_inventories_share_a_machine_or_an_address() -> None:
    machines = [item for name in MAX_MEMORY_MIB for item in _inventory(name)["hosts"].items()]
    assert len({name for name, _ in machines}) == len(machines)
    assert len({machine["ansible_host"] for _, machine in machines}) == len(machines)


@pytest.mark.parametrize("dead", _inventory("ha")["hosts"])
def test_a_dead_host_of_ha_takes_no_tier_and_no_majority(dead: str) -> None:
    left = {name: set(group["hosts"]) - {dead} for name, group in _inventory("ha")["children"].items()}
    # No reaction that counts passes the others.
    assert all(hosts for name, hosts in left.items() if name not in {"audit", "loadgen", "monitoring"})
    assert len(left["zookeeper"]) >= 2
    assert len(left["kafka"]) >= 2


def test_no_host_of_ha_takes_a_zookeeper_and_a_broker_at_once() -> None:
    groups = _inventory("ha")["children"]
    assert not set(groups["zookeeper"]["hosts"]) & set(groups["kafka"]["hosts"])
