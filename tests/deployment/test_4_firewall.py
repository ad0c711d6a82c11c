"""A host accepts only the connections that its tier needs. All others are tried."""

import json
import shlex
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployment.hosts import EDGES, MACHINES, UNITS, Hosts

pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("system")]

ALL = set(MACHINES)
MONITORING = "monitoring1"
PYTHON = {"spark-master1", "ingest1", "registry1", "publisher1", *EDGES}
# Which hosts reach which port of which host. Nothing else does.
REACHED_BY: dict[tuple[str, int], set[str]] = {
    ("zookeeper1", 2181): {"kafka1", MONITORING, *PYTHON},
    ("kafka1", 9092): {"spark-worker1", "loadgen1", *(PYTHON - {"registry1"})},
    ("spark-master1", 7077): {"spark-worker1"},
    ("spark-master1", 7080): {"spark-worker1"},
    ("spark-master1", 8002): {"registry1", MONITORING},
    ("spark-master1", 8080): {"spark-worker1", MONITORING},
    ("spark-worker1", 7078): {"spark-master1"},
    ("spark-worker1", 8081): {MONITORING},
    ("ingest1", 8000): {"gateway1"},
    ("ingest1", 8010): {"registry1", MONITORING},
    ("registry1", 8001): {"gateway1"},
    ("registry1", 8011): {MONITORING},
    **{("publisher1", port): {"registry1", MONITORING} for port in (8003, 8101, 8102, 8103)},
    **{(edge, 443): ALL for edge in EDGES},
    **{(edge, port): set() for edge in EDGES for port in (80, 9001, 9002, 9003)},
    **{(edge, port): {"registry1", MONITORING} for edge in EDGES for port in (10001, 10002, 10003)},
    **{("gateway1", port): ALL for port in (80, 443)},
    ("loadgen1", 5557): set(),
    ("loadgen1", 8089): set(),
    **{(MONITORING, port): set() for port in (8004, 8020, 8021)},
    # What tells metrics alone.
    **{port: {MONITORING} for port in (("kafka1", 8023), ("zookeeper1", 8024))},
    **{(host, 8025): {MONITORING} for host in ("gateway1", *EDGES)},
    **{(host, 8022): {MONITORING} for host in MACHINES},
}
# What an operator or a viewer on the control node reaches.
ADMIN_LISTENERS = {(unit.host, unit.port) for unit in UNITS if unit.port}
# An operator's commands run on the control node.
_SERVERS = {("zookeeper1", 2181), ("kafka1", 9092)}
_PAGES = {("spark-master1", 8080), ("spark-worker1", 8081), ("loadgen1", 8089), (MONITORING, 8020), (MONITORING, 8021)}
OPERATORS = _PAGES | _SERVERS | ADMIN_LISTENERS
VIEWERS = {("gateway1", 80), *((host, 443) for host in ("gateway1", *EDGES))}
_TIMEOUT_SECONDS = 5
# Prints which of the addresses in its argument accept a connection.
_TRY = f"""
import concurrent.futures, json, socket, sys
def accepts(address):
    try:
        socket.create_connection(address, {_TIMEOUT_SECONDS}).close()
    except OSError:
        return False
    return True
addresses = [tuple(address) for address in json.loads(sys.argv[1])]
with concurrent.futures.ThreadPoolExecutor(len(addresses)) as pool:
    print(json.dumps(list(pool.map(accepts, addresses))))
"""


@pytest.fixture
def reached_by(system: Hosts) -> dict[tuple[str, int], set[str]]:
    """`REACHED_BY`, and the port of Spark's driver, which is another one after each start."""
    properties = "/var/lib/emostream-aggregator/work/conf/spark-defaults.conf"
    line = system["spark-master1"].check_output(f"grep ^spark.driver.port {properties}")
    return {**REACHED_BY, ("spark-master1", int(line.split()[1])): {"spark-worker1"}}


def test_every_host_reaches_what_it_needs_and_nothing_else(
    system: Hosts, reached_by: dict[tuple[str, int], set[str]]
) -> None:
    ports = list(reached_by)
    addresses = json.dumps([(MACHINES[name]["ansible_host"], port) for name, port in ports])
    command = f"python3 -c {shlex.quote(_TRY)} {shlex.quote(addresses)}"
    accepted = system.on_each(lambda _, host: json.loads(host.check_output(command)))
    for source, answers in accepted.items():
        # A host may connect to itself.
        reached = {port for port, accepts in zip(ports, answers, strict=True) if accepts and port[0] != source}
        assert reached == {port for port in ports if source in reached_by[port] and port[0] != source}, source


def test_the_outside_reaches_what_is_for_viewers_and_operators(reached_by: dict[tuple[str, int], set[str]]) -> None:
    ports = list(reached_by)
    with ThreadPoolExecutor(len(ports)) as pool:
        answers = pool.map(_accepts, ports)
        reached = {port for port, accepts in zip(ports, answers, strict=True) if accepts}
    assert reached == OPERATORS | VIEWERS


def test_a_viewer_can_not_come_in_by_the_providers_network(system: Hosts) -> None:
    # Each service listens on its host's address in the inventory. Only HAProxy listens on all.
    listening = system.on_each(
        lambda _, host: host.check_output("ss --tcp --listening --numeric --no-header").splitlines()
    )
    for name, lines in listening.items():
        addresses = {line.split()[3] for line in lines}
        own = MACHINES[name]["ansible_host"]
        foreign = {
            address
            for address in addresses
            if not address.startswith((own, f"[::ffff:{own}]", "127.", "[::ffff:127.", "[::1]"))
        }
        assert {address.rpartition(":")[2] for address in foreign} <= {"22", "80", "443"}, f"{name}: {foreign}"


def _accepts(port: tuple[str, int]) -> bool:
    name, number = port
    try:
        socket.create_connection((MACHINES[name]["ansible_host"], number), _TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True
