"""A wrong inventory is refused before anything is changed, with its remedy. The project's inventories pass."""

import copy
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.control import INVENTORIES, play, variables

Inventory = dict[str, Any]


def _no_broker_and_no_group_of_publishers(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"] = {}
    del inventory["children"]["publisher"]


def _even_ensemble(inventory: Inventory) -> None:
    inventory["children"]["zookeeper"]["hosts"]["spare1"] = {"zookeeper_id": 2}


def _two_gateways_without_an_address(inventory: Inventory) -> None:
    inventory["children"]["gateway"]["hosts"]["spare1"] = None


def _one_gateway_with_another_address(inventory: Inventory) -> None:
    inventory["vars"] = {"gateway_virtual_address": "192.0.2.90"}


def _address_of_the_gateways_on_a_host(inventory: Inventory) -> None:
    _two_gateways_without_an_address(inventory)
    inventory["vars"] = {"gateway_virtual_address": inventory["hosts"]["spare1"]["ansible_host"]}


def _two_hosts_that_watch(inventory: Inventory) -> None:
    inventory["children"]["monitoring"]["hosts"]["spare1"] = None


def _variable_that_is_gone(inventory: Inventory) -> None:
    inventory["children"]["publisher"]["hosts"]["emostream1"]["publisher_clusters"] = ["cluster1"]


def _settings_that_follow_from_the_inventory(inventory: Inventory) -> None:
    inventory["vars"] = {"emostream_settings": {"EMOSTREAM_AGGREGATOR_DRIVER_MEMORY_MIB": 600}}
    inventory["children"]["ingest"]["vars"] = {"emostream_settings": {"EMOSTREAM_INGEST_HOST": "192.0.2.7"}}


def _clusters_that_are_not_the_subscribers(inventory: Inventory) -> None:
    instances = inventory["children"]["publisher"]["hosts"]["emostream1"]["publisher_instances"]
    del instances["cluster2"]
    instances["cluster4"] = {"port": 8104}


def _more_heap_than_memory(inventory: Inventory) -> None:
    inventory["children"]["kafka"]["hosts"]["emostream1"]["kafka_heap_mib"] = 2048


# What a wrong inventory is refused with.
REMEDIES: dict[Callable[[Inventory], None], list[str]] = {
    _no_broker_and_no_group_of_publishers: [
        "The group kafka of the inventory has no host: name at least one",
        "The group publisher of the inventory has no host: name at least one",
    ],
    _even_ensemble: ["an even ensemble survives no more losses than one host less. Name an odd number"],
    _two_gateways_without_an_address: ["2 hosts are in the group gateway. Several need a gateway_virtual_address"],
    _one_gateway_with_another_address: ["1 hosts are in the group gateway. Several need a gateway_virtual_address"],
    _address_of_the_gateways_on_a_host: ["spare1 needs an IPv4 address that neither another host nor the gateways"],
    _two_hosts_that_watch: ["2 hosts are in the group monitoring: each would send every alert"],
    _variable_that_is_gone: ["emostream1 sets publisher_clusters, which is gone: name each cluster with its port in"],
    _settings_that_follow_from_the_inventory: [
        "EMOSTREAM_AGGREGATOR_DRIVER_MEMORY_MIB, which follows from the inventory: set aggregator_driver_heap_mib.",
        "emostream_settings has EMOSTREAM_INGEST_HOST, which follows from the inventory",
    ],
    _clusters_that_are_not_the_subscribers: [
        "No publisher serves cluster2. No subscriber is in cluster4: correct publisher_instances"
    ],
}
# What is wrong with a host, and how it is told. One inventory has a host of each kind of fault, since Ansible starts
# slowly: one check looks at all of them, and names each.
HOST = "needs an IPv4 address that neither another host nor the gateways together have"
NETWORKS = "make it a list of addresses and networks"
SUBSCRIBERS = "correct subscriber_instances and subscriber_capacity of"
PUBLISHERS = "need different ports from 8101 to 8199"
BROKER = "needs a kafka_broker_id from 0 to 1000 that no other broker has"
ZOOKEEPER = "needs a zookeeper_id from 1 to 255 that no other ZooKeeper has"
WRONG_HOSTS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "all": [
        ({"ansible_host": "192.0.2.1"}, f"{{host}} {HOST}"),
        ({"ansible_host": "spare.example.com"}, f"{{host}} {HOST} (it has spare.example.com), and memory_mib"),
        ({"memory_mib": None}, f"{{host}} {HOST}"),
        ({"cores": 0}, f"{{host}} {HOST}"),
    ],
    "operator_networks": [
        ({"operator_networks": None}, f"operator_networks is empty: {NETWORKS}"),
        ({"operator_networks": "192.0.2.0/24"}, f"operator_networks is 192.0.2.0/24: {NETWORKS}"),
        ({"operator_networks": ["office.example.com"]}, f"operator_networks is ['office.example.com']: {NETWORKS}"),
    ],
    "subscriber": [
        ({"subscriber_instances": instances, **more}, f"{SUBSCRIBERS} {{host}}")
        for instances, more in (
            # One port twice, one that is another's by default, and one that is another's for operators.
            ({"1": {"cluster": "cluster1", "port": 9101}, "2": {"cluster": "cluster2", "port": 9101}}, {}),
            ({"1": {"cluster": "cluster1"}, "2": {"cluster": "cluster2", "port": 9001}}, {}),
            ({"1": {"cluster": "cluster1"}, "2": {"cluster": "cluster2", "port": 10001}}, {}),
            ({"1": {"cluster": "cluster1"}, "2": {}}, {}),
            ({}, {}),
            ({"1": {"cluster": "cluster1"}}, {"subscriber_capacity": 0}),
            ({"1": {"cluster": "cluster1"}, "2": {"cluster": "cluster2", "capacity": 0}}, {}),
        )
    ],
    "kafka": [
        ({}, f"{{host}} {BROKER}"),
        ({"kafka_broker_id": 1}, f"{{host}} {BROKER}"),
        ({"kafka_broker_id": 1001}, f"{{host}} {BROKER}"),
    ],
    "zookeeper": [({}, f"{{host}} {ZOOKEEPER}"), ({"zookeeper_id": 256}, f"{{host}} {ZOOKEEPER}")],
    "publisher": [
        (
            {"publisher_instances": {"cluster1": {"port": 8101}, "cluster2": {"port": 8101}}},
            f"The publishers of {{host}} {PUBLISHERS}",
        ),
        (
            {"publisher_instances": {"cluster1": {"port": 8101}, "cluster2": {}}},
            f"The publishers of {{host}} {PUBLISHERS}",
        ),
    ],
}


def _inventory(name: str) -> Inventory:
    inventory: Inventory = yaml.safe_load((INVENTORIES / name / "hosts.yml").read_text())["all"]
    return inventory


def _written(inventory: Inventory, folder: Path) -> Path:
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": inventory}))
    return path


@pytest.fixture(scope="module")
def smallest() -> Inventory:
    """The inventory of one host, beside one that has no part. Ansible checks it in half the time of the default one."""
    inventory = _inventory("single")
    inventory["hosts"]["spare1"] = dict(inventory["hosts"]["emostream1"])
    return _with_unused_addresses(inventory)


@pytest.fixture(scope="module")
def default_inventory() -> Inventory:
    return _with_unused_addresses(_inventory("vagrant"))


def _with_unused_addresses(inventory: Inventory) -> Inventory:
    """Nothing can be changed by mistake at these addresses."""
    for number, host in enumerate(inventory["hosts"].values(), 1):
        host["ansible_host"] = f"192.0.2.{number}"
    return inventory


def _refused(inventory: Inventory, folder: Path, remedies: Iterable[str], playbook: str = "inventory") -> str:
    """The output of a playbook that names each of these remedies, and fails."""
    refused = play(f"playbooks/{playbook}.yml", inventory=_written(inventory, folder), seconds=200)
    assert refused.status == 2, refused.output
    said = " ".join(refused.output.split())
    assert [remedy for remedy in remedies if remedy not in said] == [], refused.output
    return refused.output


@pytest.mark.parametrize("spoil", REMEDIES, ids=lambda spoil: spoil.__name__.strip("_"))
def test_a_wrong_inventory_is_refused_with_its_remedy(
    smallest: Inventory, spoil: Callable[[Inventory], None], tmp_path: Path
) -> None:
    wrong = copy.deepcopy(smallest)
    spoil(wrong)
    _refused(wrong, tmp_path, REMEDIES[spoil])


@pytest.mark.parametrize("group", WRONG_HOSTS)
def test_each_wrong_host_is_refused_with_its_remedy(smallest: Inventory, group: str, tmp_path: Path) -> None:
    wrong = copy.deepcopy(smallest)
    remedies = []
    for number, (entry, remedy) in enumerate(WRONG_HOSTS[group], 2):
        host = f"spare{number}"
        wrong["hosts"][host] = {**wrong["hosts"]["spare1"], "ansible_host": f"192.0.2.{number + 1}"}
        entries = wrong["children"][group]["hosts"] if group in wrong["children"] else wrong["hosts"]
        entries[host] = {**(entries.get(host) or {}), **entry}
        remedies.append(remedy.format(host=host))
    _refused(wrong, tmp_path, remedies)


def test_a_wrong_inventory_is_refused_before_a_host_is_asked(smallest: Inventory, tmp_path: Path) -> None:
    wrong = copy.deepcopy(smallest)
    _more_heap_than_memory(wrong)
    remedy = "MiB of its 3072 MiB, but a JVM needs as much again beside its heap"
    assert "Look at the hosts" not in _refused(wrong, tmp_path, [remedy], "../site"), "it went on to the hosts"


WARNING = "WARNING: while one of these hosts is down"


@pytest.mark.parametrize("name", sorted(path.name for path in INVENTORIES.iterdir()))
def test_the_projects_inventories_pass(name: str) -> None:
    passed = play("playbooks/inventory.yml", inventory=INVENTORIES / name, seconds=200)
    assert passed.status == 0, passed.output
    assert (WARNING in passed.output) == (name != "ha"), passed.output


def test_the_example_is_of_machines_that_have_names_and_another_port_of_ssh() -> None:
    example = INVENTORIES / "example"
    assert play("site.yml", "--syntax-check", inventory=example, seconds=200).status == 0
    names = (
        "ansible_host",
        "subscriber_public_url",
        "kafka_bootstrap_servers",
        "base_ssh_ports",
        "haproxy_max_connections",
    )
    assert variables(example, "edge1", *names) == {
        "ansible_host": "edge1.internal.example.com",
        "subscriber_public_url": "https://edge1.example.com/subscribers",
        "kafka_bootstrap_servers": ["10.0.0.11:9092"],
        "base_ssh_ports": [2222],
        "haproxy_max_connections": 10_500,
    }


def test_hosts_whose_death_takes_a_whole_tier_or_cluster_are_named(tmp_path: Path) -> None:
    inventory = _inventory("ha")
    del inventory["children"]["ingest"]["hosts"]["ha-front2"]
    _second_edge_without_cluster1(inventory)
    passed = play("playbooks/inventory.yml", inventory=_written(inventory, tmp_path), seconds=200)
    assert passed.status == 0, passed.output
    named = passed.output.partition(WARNING)[2].partition("PLAY")[0]
    assert [line.strip(" -'") for line in named.splitlines() if "ha-" in line] == [
        "ha-edge1: subscriber of cluster1",
        "ha-front1: ingest",
    ]


def _second_edge_without_cluster1(inventory: Inventory) -> None:
    group = inventory["children"]["subscriber"]
    instances = group.pop("vars")["subscriber_instances"]
    without = {number: instance for number, instance in instances.items() if instance["cluster"] != "cluster1"}
    group["hosts"] = {
        "ha-edge1": {"subscriber_instances": instances},
        "ha-edge2": {"subscriber_instances": without},
    }


@pytest.mark.parametrize(
    ("inventory", "arguments", "told"),
    [
        ("ha", [], "Say which host leaves: -e host=NAME, one of ha-zookeeper1, "),
        ("ha", ["-e", "host=nobody"], "Say which host leaves: -e host=NAME, one of ha-zookeeper1, "),
        ("vagrant", ["-e", "host=zookeeper1"], "Without zookeeper1 nobody is zookeeper. Name another host there"),
        ("vagrant", ["-e", "host=publisher1"], "Without publisher1 nobody is publisher of cluster1, publisher of"),
    ],
)
def test_a_host_that_nobody_stands_in_for_is_not_removed(inventory: str, arguments: list[str], told: str) -> None:
    done = play("playbooks/remove.yml", *arguments, inventory=INVENTORIES / inventory, seconds=120)
    assert done.status != 0
    assert told in " ".join(done.output.split())


def test_gateway_load_generator_and_the_host_that_watches_may_be_left_out(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    without = copy.deepcopy(default_inventory)
    del without["children"]["gateway"], without["children"]["loadgen"], without["children"]["monitoring"]
    path = _written(without, tmp_path)
    passed = play("playbooks/inventory.yml", inventory=path, seconds=200)
    assert passed.status == 0, passed.output
    addresses = {name: without["hosts"][name]["ansible_host"] for name in ("ingest1", "registry1")}
    seen = variables(path, "registry1", "registry_url", "ingest_url", "registry_settings", "base_firewall_rules")
    # Viewers come to the registry and to ingest themselves, and the page says so.
    assert seen["registry_url"] == f"http://{addresses['registry1']}:8001"
    assert seen["ingest_url"] == f"http://{addresses['ingest1']}:8000"
    assert seen["registry_settings"]["EMOSTREAM_REGISTRY_INGEST_URL"] == seen["ingest_url"]
    assert {"ports": [8001], "hosts": [], "networks": ANYWHERE} in seen["base_firewall_rules"]
    # Then nothing tells metrics without a certificate.
    servers = variables(path, "kafka1", "kafka_metrics_port", "zookeeper_metrics_port", "monitoring_packages")
    assert servers == {"kafka_metrics_port": 0, "zookeeper_metrics_port": 0, "monitoring_packages": []}
    for playbook in ("load", "chaos"):
        refused = play(f"playbooks/{playbook}.yml", inventory=path, seconds=200)
        assert refused.status == 2, refused.output
        assert "the inventory has none: name one below children.loadgen.hosts" in " ".join(refused.output.split())


def test_prometheus_asks_each_unit_of_the_inventory_and_each_host() -> None:
    seen = variables(INVENTORIES / "vagrant", "monitoring1", "prometheus_targets", "base_masked_units")
    addresses = [address for target in seen["prometheus_targets"] for address in target["targets"]]
    assert len(set(addresses)) == len(addresses)
    names = [(target["labels"]["tier"], target["labels"]["instance"]) for target in seen["prometheus_targets"]]
    assert len(set(names)) == len(names)
    by_tier: dict[str, list[dict[str, str]]] = {}
    for target in seen["prometheus_targets"]:
        by_tier.setdefault(target["labels"]["tier"], []).append(target["labels"])
    assert {tier: len(labels) for tier, labels in by_tier.items()} == {
        **dict.fromkeys(("zookeeper", "kafka", "aggregator", "ingest", "registry", "audit", "gateway", "canary"), 1),
        "spark": 2,
        "publisher": 3,
        "edge": 3,
        "subscriber": 9,
        "monitoring": 2,
        "node": 13,
    }
    assert {labels["__scheme__"] for labels in by_tier["subscriber"]} == {"https"}
    assert {labels["cluster"] for labels in by_tier["subscriber"]} == {"cluster1", "cluster2", "cluster3"}
    assert {labels["__metrics_path__"] for labels in by_tier["spark"]} == {"/metrics/prometheus"}
    # The packages' own units listen on all addresses.
    assert set(seen["base_masked_units"]) == {
        f"prometheus{name}.service" for name in ("", "-alertmanager", "-node-exporter")
    }


def test_several_masters_and_gateways_are_one_address_each() -> None:
    names = ("spark_master_url", "spark_master_others", "spark_master_zookeeper_connect", "registry_url", "ingest_url")
    seen = variables(INVENTORIES / "ha", "ha-spark-master2", *names)
    assert seen == {
        "spark_master_url": "spark://192.168.60.77:7077,192.168.60.78:7077",
        "spark_master_others": ["192.168.60.77"],
        "spark_master_zookeeper_connect": ["192.168.60.71:2181", "192.168.60.72:2181", "192.168.60.73:2181"],
        "registry_url": "https://192.168.60.90",
        "ingest_url": "https://192.168.60.90",
    }
    alone = variables(INVENTORIES / "vagrant", "spark-master1", *names)
    assert alone["spark_master_url"] == "spark://192.168.60.13:7077"
    assert alone["spark_master_others"] == alone["spark_master_zookeeper_connect"] == []


def test_the_firewall_leaves_ssh_open_where_the_inventory_says_that_it_is(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    moved = copy.deepcopy(default_inventory)
    moved["vars"] = {"ansible_port": 2222, "operator_networks": []}
    seen = variables(_written(moved, tmp_path), "loadgen1", "base_ssh_ports", "base_firewall_rules")
    assert seen["base_ssh_ports"] == [2222]
    # Nobody may open Locust's page.
    assert {"ports": [8089], "networks": []} in seen["base_firewall_rules"]
    assert variables(INVENTORIES / "vagrant", "loadgen1", "base_ssh_ports") == {"base_ssh_ports": [22]}


def test_the_kernel_of_a_host_is_told_what_its_services_need(default_inventory: Inventory, tmp_path: Path) -> None:
    path = _written(default_inventory, tmp_path)
    of_java = {
        "net.ipv4.tcp_keepalive_time": 1,
        "net.ipv4.tcp_keepalive_intvl": 1,
        "net.ipv4.tcp_keepalive_probes": 3,
    }
    assert variables(path, "kafka1", "base_sysctls") == {
        "base_sysctls": {"vm.swappiness": 1, "vm.max_map_count": 262144, **of_java}
    }
    assert variables(path, "spark-worker1", "base_sysctls") == {"base_sysctls": of_java}
    large = copy.deepcopy(default_inventory)
    large["vars"] = {"subscriber_capacity": 100_000}
    seen = variables(_written(large, tmp_path), "edge1", "base_sysctls")["base_sysctls"]
    # A viewer's connection to HAProxy, and HAProxy's to the subscriber, which has two ends on this host.
    assert seen["net.netfilter.nf_conntrack_max"] == 4 * 300_500
    first, last = map(int, seen["net.ipv4.ip_local_port_range"].split())
    assert first > 10_999, "a service listens there"
    assert last == 65_535


ANYWHERE = ["0.0.0.0/0", "::/0"]
VIEWERS = (
    *(
        "registry_url",
        "subscriber_public_url",
        "haproxy_certificate_file",
        "viewers_trusted_file",
        "viewers_identities",
    ),
    *("haproxy_subscribers", "haproxy_max_connections", "base_firewall_rules"),
)


def test_services_use_the_address_that_the_inventory_gives_and_ansible_logs_in_at_another(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    behind = copy.deepcopy(default_inventory)
    for name in ("kafka1", "edge1", "gateway1"):
        host = behind["hosts"][name]
        host["emostream_address"] = host["ansible_host"].replace("192.0.2.", "10.0.0.")
        host["ansible_host"] = f"{name}.example.com"
    path = _written(behind, tmp_path)
    assert play("playbooks/inventory.yml", inventory=path, seconds=200).status == 0
    kafka, edge, gateway = (behind["hosts"][name]["emostream_address"] for name in ("kafka1", "edge1", "gateway1"))
    names = ("kafka_address", "kafka_bootstrap_servers", "registry_url", "tls_identities", "prometheus_targets")
    seen = variables(path, "kafka1", *names)
    assert (seen["kafka_address"], seen["kafka_bootstrap_servers"]) == (kafka, [f"{kafka}:9092"])
    assert seen["registry_url"] == f"https://{gateway}"
    assert {tuple(each["hosts"]) for each in seen["tls_identities"] if each["tier"] == "kafka"} == {(kafka, "kafka1")}
    assert [f"{edge}:10001"] in [target["targets"] for target in seen["prometheus_targets"]]
    assert "example.com" not in str(seen)


def test_viewers_come_by_tls_to_the_names_that_the_inventory_gives(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    named = copy.deepcopy(default_inventory)
    named["vars"] = {"gateway_public_name": "live.example.com"}
    named["hosts"]["edge1"]["public_name"] = "edge1.example.com"
    seen = variables(_written(named, tmp_path), "edge1", *VIEWERS)
    assert seen["registry_url"] == "https://live.example.com"
    assert seen["subscriber_public_url"] == "https://edge1.example.com/subscribers"
    names = {each["file"]: each["hosts"] for each in seen["viewers_identities"]}
    edge, gateway = (named["hosts"][name]["ansible_host"] for name in ("edge1", "gateway1"))
    assert names["edge1/haproxy.pem"] == [edge, "edge1", "edge1.example.com"]
    assert names["gateway1/haproxy.pem"] == [gateway, "gateway1", "live.example.com"]
    assert seen["haproxy_certificate_file"].endswith("/edge1/haproxy.pem")
    assert seen["viewers_trusted_file"].endswith("/ca.pem")
    assert (seen["haproxy_subscribers"], seen["haproxy_max_connections"]) == ({"1": 9001, "2": 9002, "3": 9003}, 3_500)
    assert {"ports": [443], "networks": ANYWHERE} in seen["base_firewall_rules"]


def test_viewers_come_by_certificates_of_the_operator_or_without_tls(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    given = copy.deepcopy(default_inventory)
    given["vars"] = {"viewers_certificate_file": "/etc/ssl/live.pem"}
    seen = variables(_written(given, tmp_path), "gateway1", *VIEWERS)
    assert (seen["haproxy_certificate_file"], seen["viewers_trusted_file"]) == ("/etc/ssl/live.pem", "")
    assert seen["viewers_identities"] == []
    given["vars"] = {"viewers_tls": False}
    seen = variables(_written(given, tmp_path), "edge1", *VIEWERS)
    assert (seen["haproxy_certificate_file"], seen["viewers_trusted_file"]) == ("", "")
    assert seen["registry_url"] == f"http://{given['hosts']['gateway1']['ansible_host']}"
    assert {"ports": [80], "networks": ANYWHERE} in seen["base_firewall_rules"]


def test_an_inventory_decides_whether_viewers_need_a_token(default_inventory: Inventory, tmp_path: Path) -> None:
    without = copy.deepcopy(default_inventory)
    without["vars"] = {"viewers_need_tokens": False}
    assert variables(_written(without, tmp_path), "edge1", "tokens_are_ours") == {"tokens_are_ours": False}


def test_a_worker_has_memory_for_the_executors_of_all_aggregators() -> None:
    names = (
        "heap_sum_mib",
        "spark_worker_heap_mib",
        "spark_executor_heap_mib",
        "spark_worker_memory_mib",
        "memory_mib",
    )
    seen = variables(INVENTORIES / "ha", "ha-spark-worker1", *names)
    executor_mib = int(seen["spark_executor_heap_mib"])
    assert int(seen["heap_sum_mib"]) == int(seen["spark_worker_heap_mib"]) + 2 * executor_mib
    assert int(seen["heap_sum_mib"]) <= 0.6 * seen["memory_mib"]
    # Spark also gives an executor to a successor while it does not know yet that the predecessor is dead.
    assert int(seen["spark_worker_memory_mib"]) >= 3 * executor_mib


def test_what_an_inventory_sets_for_all_hosts_or_a_group_outranks_the_defaults(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    own = copy.deepcopy(default_inventory)
    rules = {"kafka": [{"ports": [9092], "networks": ["192.0.2.0/24"]}]}
    own["vars"] = {
        "kafka_heap_mib": 300,
        "kafka_replication_factor": 2,
        "gateway_name": "live.example.com",
        "firewall_by_group": rules,
        "emostream_settings": {"EMOSTREAM_INGEST_LINGER_MS": 7},
    }
    own["children"]["spark_worker"]["vars"] = {"spark_worker_cores": 3, "spark_worker_heap_mib": 200}
    path = _written(own, tmp_path)
    broker = ("heap_sum_mib", "kafka_replication_factor", "registry_url", "base_firewall_rules", "ingest_settings")
    seen = variables(path, "kafka1", *broker)
    assert (seen["heap_sum_mib"], seen["kafka_replication_factor"]) == (300, 2)
    assert seen["registry_url"] == "https://live.example.com"
    assert rules["kafka"][0] in seen["base_firewall_rules"]
    assert seen["ingest_settings"]["EMOSTREAM_INGEST_LINGER_MS"] == 7
    worker = variables(path, "spark-worker1", "spark_worker_cores", "spark_worker_heap_mib")
    assert worker == {"spark_worker_cores": 3, "spark_worker_heap_mib": 200}


def test_a_large_host_leaves_the_rest_of_its_memory_to_the_page_cache(
    default_inventory: Inventory, tmp_path: Path
) -> None:
    large = copy.deepcopy(default_inventory)
    for host in large["hosts"].values():
        host["memory_mib"] = 256 * 1024
    path = _written(large, tmp_path)
    assert variables(path, "kafka1", "heap_sum_mib") == {"heap_sum_mib": 4096}
    assert variables(path, "zookeeper1", "heap_sum_mib") == {"heap_sum_mib": 1024}
    assert variables(path, "spark-worker1", "heap_sum_mib") == {"heap_sum_mib": 1024 + 4096}


@pytest.fixture
def this_machine(tmp_path: Path) -> Path:
    """An inventory of one host, which is this machine. Its data are in the folder `emostream1` of `tmp_path`."""
    return _on_this_machine(_inventory("single"), tmp_path)


def _on_this_machine(inventory: Inventory, tmp_path: Path) -> Path:
    inventory["vars"] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
    }
    for name, host in inventory["hosts"].items():
        folder = tmp_path / name
        folder.mkdir()
        host["identity_files"] = {"kafka": str(folder / "meta.properties"), "zookeeper": str(folder / "myid")}
    return _written(inventory, tmp_path)


def test_a_host_with_an_unknown_distribution_is_refused(this_machine: Path) -> None:
    known = json.dumps({"supported_distributions": ["Slackware 15"]})
    refused = play("playbooks/hosts.yml", "--extra-vars", known, inventory=this_machine, seconds=200)
    assert refused.status == 2, refused.output
    assert "the packages of Slackware 15 alone. Install one of these" in " ".join(refused.output.split()), (
        refused.output
    )
    assert "Make the archives for the hosts" not in refused.output


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
    assert play("playbooks/identity.yml", inventory=this_machine, seconds=200).status == 0
    (this_machine.parent / "emostream1" / name).write_text(content)
    refused = play("playbooks/identity.yml", inventory=this_machine, seconds=200)
    assert refused.status == 2, refused.output
    assert remedy in " ".join(refused.output.split()), refused.output


def test_the_ids_of_the_data_pass(this_machine: Path) -> None:
    (this_machine.parent / "emostream1" / "meta.properties").write_text("version=0\nbroker.id=1\ncluster.id=1\n")
    (this_machine.parent / "emostream1" / "myid").write_text("1\n")
    passed = play("playbooks/identity.yml", inventory=this_machine, seconds=200)
    assert passed.status == 0, passed.output


def test_new_zookeepers_join_one_at_a_time_those_that_have_data(tmp_path: Path) -> None:
    inventory = _inventory("single")
    for number in (2, 3):
        inventory["hosts"][f"new{number}"] = {"ansible_host": f"192.0.2.{number}", "memory_mib": 512, "cores": 1}
        inventory["children"]["zookeeper"]["hosts"][f"new{number}"] = {"zookeeper_id": number}
    path = _on_this_machine(inventory, tmp_path)
    assert play("playbooks/identity.yml", inventory=path, seconds=200).status == 0
    _write_transactions(tmp_path / "emostream1")
    refused = play("playbooks/identity.yml", inventory=path, seconds=200)
    assert refused.status == 2, refused.output
    assert "new2 and new3 have no data, but emostream1 has. " in " ".join(refused.output.split()), refused.output
    _write_transactions(tmp_path / "new2")
    assert play("playbooks/identity.yml", inventory=path, seconds=200).status == 0


def _write_transactions(folder: Path) -> None:
    (folder / "version-2").mkdir()
    (folder / "version-2" / "log.1").write_bytes(b"ZKLG")
