"""The Vagrantfile makes the machines of an inventory's one list, with each provider."""

import json
from typing import Any

import pytest

from tests.deployment.control import INVENTORIES, machines, run

NAMES = sorted(path.parents[2].name for path in INVENTORIES.glob("*/group_vars/all/vagrant.yml"))


def _asked(inventory: str, provider: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What the Vagrantfile requests of the provider, by machine."""
    done = run(
        ["ruby", "tests/deployment/machines.rb", provider],
        seconds=120,
        environment={"EMOSTREAM_INVENTORY": inventory, **environment},
    )
    assert done.returncode == 0, done.stdout
    asked: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return asked


@pytest.mark.parametrize("provider", ["virtualbox", "libvirt", "lxc"])
@pytest.mark.parametrize("inventory", NAMES)
def test_its_machines_are_those_of_the_inventory(inventory: str, provider: str) -> None:
    asked = _asked(inventory, provider)
    listed = machines(inventory)
    assert list(asked) == list(listed)
    for name, machine in asked.items():
        assert machine["hostname"] == name
        assert machine["has_own_key"]
        assert _shape(provider, machine) == listed[name]


def _shape(provider: str, machine: dict[str, Any]) -> dict[str, Any]:
    """A machine's cluster address, memory and cores, in the words of the inventory."""
    if provider == "libvirt":
        [address] = machine["private_networks"]
        return {"ansible_host": address, "memory_mib": machine["memory_mib"], "cores": machine["cores"]}
    if provider == "virtualbox":
        [address] = machine["private_networks"]
        modified = {option: value for _, (_, _, option, value) in machine["customizations"]}
        return {"ansible_host": address, "memory_mib": int(modified["--memory"]), "cores": int(modified["--cpus"])}
    lxc = dict(machine["customizations"])
    quota, period = lxc["cgroup2.cpu.max"].split()
    return {
        "ansible_host": lxc["net.1.ipv4.address"].removesuffix("/24"),
        "memory_mib": int(lxc["cgroup2.memory.max"].removesuffix("M")),
        "cores": int(quota) // int(period),
    }


def test_lxc_hosts_have_the_providers_network_first_and_the_clusters_second() -> None:
    for machine in _asked("vagrant", "lxc").values():
        lxc = dict(machine["customizations"])
        assert lxc["net.0.ipv4.address"].startswith("10.0.3.")
        assert lxc["net.1.ipv4.address"].startswith("192.168.60.")


def test_lxc_hosts_keep_hardware_addresses_of_their_own() -> None:
    machines = [dict(machine["customizations"]) for machine in _asked("vagrant", "lxc").values()]
    addresses = [machine[f"net.{number}.hwaddr"] for machine in machines for number in (0, 1)]
    assert len(set(addresses)) == len(addresses)
    # A locally administered unicast address.
    assert all(int(address[:2], 16) & 0b11 == 0b10 for address in addresses)


@pytest.mark.parametrize(
    ("environment", "suite"), [({}, "bookworm"), ({"EMOSTREAM_DEBIAN": "trixie"}, "trixie")], ids=["none", "trixie"]
)
def test_lxc_hosts_have_the_debian_that_is_asked_for(environment: dict[str, str], suite: str) -> None:
    for machine in _asked("single", "lxc", **environment).values():
        assert machine["box"].startswith(f"emostream/{suite}-")


def test_another_debian_is_refused_with_those_that_there_are() -> None:
    done = run(["vagrant", "status"], seconds=120, environment={"EMOSTREAM_DEBIAN": "bullseye"})
    assert done.returncode != 0
    assert (
        "There is no box of bullseye: set EMOSTREAM_DEBIAN to bookworm (Debian 12) or trixie (Debian 13)."
        in done.stdout
    )


@pytest.mark.parametrize("name", ["nowhere", "example"])
def test_an_inventory_of_other_machines_is_refused_with_those_that_there_are(name: str) -> None:
    done = run(["vagrant", "status"], seconds=120, environment={"EMOSTREAM_INVENTORY": name})
    assert done.returncode != 0
    assert f"Vagrant makes no machines of inventory/{name}: set EMOSTREAM_INVENTORY to one of" in done.stdout
    assert all(known in done.stdout for known in NAMES)
