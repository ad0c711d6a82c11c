"""The table is readable, and missing processes are named."""

import asyncio

import pytest

from emostream.errors import EmoStreamError
from emostream.operate.status import fetch, problems, table
from emostream.registry.topology import Service, Subscriber, TopologyView
from emostream_lab.processes import servers


def service(tier: str, name: str = "h:1", *, leader: bool = False) -> Service:
    return Service(tier, name, leader, "http://h:1")


def subscriber(clients: int = 0, *, pending: int = 0) -> Subscriber:
    return Subscriber("c1/9001", "c1", "http://h:9001", 10, clients, pending)


ALL = TopologyView(
    None,
    [subscriber(3)],
    [service("aggregator", leader=True), service("ingest"), service("publisher", "c1@h:2", leader=True)],
)


def test_nothing_is_missing() -> None:
    assert problems(ALL, ["c1"]) == []


def test_the_table_is_in_columns() -> None:
    view = TopologyView(None, [subscriber(3, pending=2)], [service("ingest")])
    assert table(view).splitlines() == [
        "TIER        NAME     STATE                         ADDRESS",
        "ingest      h:1                                    http://h:1",
        "subscriber  c1/9001  3/10 viewers, 2 on their way  http://h:9001",
    ]


def test_the_table_of_the_public_view_lacks_the_addresses_that_it_is_not_told() -> None:
    view = TopologyView(None, [], [Service("ingest", "ingest", leader=False)])
    assert table(view).splitlines()[1] == "ingest  ingest"


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (TopologyView(1_732_370_000_000, ALL.subscribers, ALL.services), "ZooKeeper since 13:53:20 UTC"),
        (TopologyView(None, ALL.subscribers, ALL.services[:1] + ALL.services[2:]), "No ingest"),
        (TopologyView(None, ALL.subscribers, [service("aggregator"), *ALL.services[1:]]), "No aggregator leads"),
        (TopologyView(None, ALL.subscribers, ALL.services[:2]), "No publisher leads for c1"),
        (TopologyView(None, [], ALL.services), "No subscriber of c1"),
        (TopologyView(None, [subscriber(8, pending=2)], ALL.services), "Every subscriber is full"),
    ],
)
def test_what_is_missing_is_said(view: TopologyView, sentence: str) -> None:
    [problem] = problems(view, ["c1"])
    assert sentence in problem


def test_a_registry_that_is_away_is_told_with_what_to_check() -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_CLIENT_REGISTRY_URL"):
        asyncio.run(fetch(f"http://{servers.HOST}:{servers.free_port()}"))
