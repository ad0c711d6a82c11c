"""Nodes become the topology, and the addresses that viewers get."""

import json
import random

import msgspec
import pytest

from emostream.model import Assignment
from emostream.registry.live import RegisteredProcess
from emostream.registry.topology import Service, Subscriber, Topology


def node(**content: object) -> bytes:
    return json.dumps(content).encode()


def subscriber(url: str = "http://edge:9001", capacity: int = 10, clients: int = 0, **more: object) -> bytes:
    return node(url=url, capacity=capacity, clients=clients, **more)


@pytest.fixture
def topology() -> Topology:
    return Topology(10, random.Random(1).random)


def test_a_subscriber_is_assigned_by_its_advertised_address(topology: Topology) -> None:
    topology.put("/subscribers/c1/9001", subscriber())
    assert topology.assign(0, ()) == Assignment("c1/9001", "c1", "http://edge:9001/v1/stream", "ws://edge:9001/v1/ws")


def test_a_secure_address_below_a_path(topology: Topology) -> None:
    topology.put("/subscribers/c1/a", subscriber("https://edge/one/"))
    assignment = topology.assign(0, ())
    assert assignment is not None
    assert (assignment.sse_url, assignment.ws_url) == ("https://edge/one/v1/stream", "wss://edge/one/v1/ws")


def test_the_view_is_ordered_and_counts_who_is_on_the_way(topology: Topology) -> None:
    topology.put("/subscribers/c2/b", subscriber(clients=9))
    topology.put("/subscribers/c1/a", subscriber())
    topology.put("/services/ingest/h:1", node(url="http://h:1", leader=False))
    topology.put("/services/aggregator/h:2", node(url="http://h:2", leader=True, newer="ignored"))
    topology.assign(0, ())
    view = topology.view(1)
    assert view.stale_since is None
    assert view.subscribers == [
        Subscriber("c1/a", "c1", "http://edge:9001", 10, 0, 1),
        Subscriber("c2/b", "c2", "http://edge:9001", 10, 9, 0),
    ]
    assert view.services == [
        Service("aggregator", "h:2", leader=True, url="http://h:2"),
        Service("ingest", "h:1", leader=False, url="http://h:1"),
    ]


def test_viewers_are_told_no_address_but_those_of_subscribers(topology: Topology) -> None:
    topology.put("/subscribers/c1/a", subscriber(admin_url="http://inside:10001"))
    topology.put("/services/publisher/c1@inside:1", node(url="http://inside:1", leader=True))
    topology.put("/services/ingest/inside:2", node(url="http://inside:2", admin_url="http://inside:3"))
    view = topology.view_for_viewers(0)
    assert b"inside" not in msgspec.json.encode(view)
    assert view.subscribers == topology.view(0).subscribers
    assert view.services == [Service("ingest", "ingest", leader=False), Service("publisher", "c1", leader=True)]


def test_what_is_gone_is_gone(topology: Topology) -> None:
    topology.put("/subscribers/c1/a", subscriber())
    topology.put("/services/ingest/h:1", node(url="http://h:1"))
    for _ in range(2):
        topology.remove("/subscribers/c1/a")
        topology.remove("/services/ingest/h:1")
    assert (topology.assign(0, ()), topology.view(0).subscribers, topology.view(0).services) == (None, [], [])


def test_registered_processes_are_named_as_viewers_know_them(topology: Topology) -> None:
    topology.put("/subscribers/c1/a", subscriber(clients=3))
    topology.put("/services/publisher/c1@h:1", node(url="http://h:1", leader=True))
    topology.put("/services/ingest/h:2", node(url="http://h:2", admin_url="http://h:3"))
    assert topology.registered() == [
        RegisteredProcess("ingest", "h:2", "http://h:2", "http://h:3", "", leader=False, clients=0, capacity=0),
        # Processes of an earlier release, which registered only one address.
        RegisteredProcess("publisher", "c1@h:1", *["http://h:1"] * 2, "c1", leader=True, clients=0, capacity=0),
        RegisteredProcess("subscriber", "c1/a", *["http://edge:9001"] * 2, "c1", leader=False, clients=3, capacity=10),
    ]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b'{"url": "http://\xff", "capacity": 1, "clients": 0}',
        node(url="edge:9001", capacity=1, clients=0),
        node(url="http://e", capacity=0, clients=0),
        node(url="http://e", capacity=1, clients=-1),
        node(url="http://e", capacity="1", clients=0),
        node(capacity=1, clients=0),
    ],
)
def test_a_node_that_describes_no_process_is_refused(topology: Topology, value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        topology.put("/subscribers/c1/a", value)
