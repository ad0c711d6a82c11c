"""The table of events in a real ZooKeeper: it is followed live, survives junk, and takes changes of many operators."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from kazoo.client import KazooClient

from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events import store
from emostream.events import table as tables
from emostream.events.steps import Seen
from emostream.events.store import Follower
from emostream.events.table import Definition, Table
from emostream.operate.events import EventOptions, Operator, Wanted
from emostream.runtime.coordination import connect
from emostream_lab.processes import servers
from tests.conftest import Server, running
from tests.integration.viewers import wait_until

WISH = Definition("A match", ("🔥",), "opening", "0" * 11)
Connect = Callable[[], KazooClient]


def open_event(event: str, now_ms: int = 5) -> Callable[[Table], Table]:
    return lambda table: tables.opened(table, event, WISH, now_ms)


@pytest.fixture
def connect_to(zookeeper: Server) -> Iterator[Connect]:
    """Connects to a part of ZooKeeper of this test's own."""
    root, clients = f"/events-{uuid.uuid4().hex[:8]}", []

    def make() -> KazooClient:
        clients.append(connect(ZooKeeperSettings(hosts=(zookeeper.address,), root=root)))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()
        client.close()


def follow(client: KazooClient) -> tuple[Follower, list[Seen]]:
    seen: list[Seen] = []
    follower = Follower(client, seen.append)
    follower.start()
    wait_until(lambda: follower.seen)
    return follower, seen


def test_each_change_is_followed_by_its_revision(connect_to: Connect) -> None:
    client = connect_to()
    follower, seen = follow(connect_to())
    assert (seen[0].view.table, seen[0].is_current) == ({}, True)
    revisions = []
    for event in ("a", "b"):
        revisions.append(store.change(client, open_event(event)))
        wait_until(lambda event=event: event in follower.seen.view.table)
        assert follower.revision == revisions[-1]
    assert revisions == sorted(set(revisions))
    # To change nothing makes no new version.
    assert store.change(client, lambda table: table) == revisions[-1]


def test_a_follower_goes_on_after_any_error(connect_to: Connect) -> None:
    told: list[Seen] = []

    def take(seen: Seen) -> None:
        told.append(seen)
        if len(told) == 1:
            raise RuntimeError("the loop of this process is closed")

    follower = Follower(connect_to(), take)
    follower.start()
    wait_until(lambda: told)
    store.change(connect_to(), open_event("a"))
    wait_until(lambda: told[-1].view.table.keys() == {"a"})


def test_junk_is_ignored_and_the_last_table_stays_in_force(connect_to: Connect) -> None:
    client = connect_to()
    follower, _ = follow(connect_to())
    store.change(client, open_event("a"))
    good = client.get(store.PATH)[0]
    client.set(store.PATH, b"junk")
    with pytest.raises(EmoStreamError, match="holds no table of events"):
        store.change(client, open_event("b"))
    client.set(store.PATH, good[:-1] + b',"Odd":{"title":7}}')
    store.change(client, open_event("b"))
    wait_until(lambda: set(follower.seen.view.table) == {"a", "b"})
    assert json.loads(client.get(store.PATH)[0])["Odd"] == {"title": 7}


def test_operators_who_change_the_table_at_once_lose_nothing_of_each_other(connect_to: Connect) -> None:
    clients = [connect_to() for _ in range(3)]

    def work(number: int, client: KazooClient) -> None:
        for turn in range(15):
            store.change(client, open_event(f"event-{number}-{turn}"))
            store.change(client, open_event("shared", now_ms=turn))

    threads = [threading.Thread(target=work, args=each) for each in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.read(clients[0]).view.table) == 3 * 15 + 1


def test_a_table_of_another_version_is_not_replaced(connect_to: Connect) -> None:
    client = connect_to()
    store.change(client, open_event("a"))
    view = store.read(client).view
    store.change(client, open_event("b"))
    assert not store.replace(client, view.version, {})
    assert not store.replace(client, -1, {})
    assert store.read(client).view.table.keys() == {"a", "b"}


def test_a_table_that_zookeeper_would_refuse_is_refused_in_words(connect_to: Connect) -> None:
    large = {f"event-{number}": msgspec.structs.replace(WISH, title="x" * 100) for number in range(8_000)}
    with pytest.raises(EmoStreamError, match="the table of 8000 events would have"):
        store.change(connect_to(), lambda _: large)


def test_without_zookeeper_the_table_is_known_but_not_current(tmp_path: Path) -> None:
    port = servers.free_port()
    process = servers.zookeeper(tmp_path / "zookeeper", port)
    with running(process, port) as server:
        client = connect(ZooKeeperSettings(hosts=(server.address,)))
        follower, _ = follow(client)
        store.change(client, open_event("a"))
        wait_until(lambda: "a" in follower.seen.view.table)
        process.stop()
        wait_until(lambda: not follower.seen.is_current)
        assert "a" in follower.seen.view.table
        process.start()
        process.wait_ready(60)
        wait_until(lambda: follower.seen.is_current, 60)
    client.stop()
    client.close()


def register(client: KazooClient, path: str, **content: object) -> None:
    client.create(path, json.dumps(content).encode(), ephemeral=True, makepath=True)


def operator_of(client: KazooClient) -> Operator:
    return Operator(client, KafkaSettings(), timeout_seconds=1)


def test_no_event_is_opened_beside_a_process_of_an_earlier_release(connect_to: Connect) -> None:
    client = connect_to()
    register(client, "/services/ingest/host:8000", url="http://host:8000")
    register(client, "/services/publisher/cluster1@host:8101", url="http://host:8101")
    register(client, "/subscribers/cluster1/9001", url="http://host:9001", events=0)
    with pytest.raises(EmoStreamError, match=r"^ingest host:8000: of an earlier release"):
        operator_of(client).open("final", EventOptions("The final"))
    assert store.read(client).view.table == {}


def test_an_event_stays_opening_until_an_aggregator_leads(connect_to: Connect) -> None:
    with pytest.raises(EmoStreamError, match=r"final is still opening after 1 s: does an aggregator lead"):
        operator_of(connect_to()).open("final", EventOptions("The final"))


def test_a_list_is_one_change_and_names_a_few_of_what_is_not_done(connect_to: Connect) -> None:
    client = connect_to()
    store.change(client, lambda _: {"old": msgspec.structs.replace(WISH, state="open")})
    before = store.read(client).view.version
    wanted = [Wanted("old", state="closed"), *(Wanted(f"match-{number}") for number in range(200))]
    with pytest.raises(
        EmoStreamError, match=r"^old is still closing, match-0 is still opening, .* and 196 more after 1 s"
    ):
        operator_of(client).bring_about(wanted)
    view = store.read(client).view
    assert view.version == before + 1
    assert {each.state for event, each in view.table.items() if event != "old"} == {"opening"}


def test_events_are_closed_even_if_they_have_outgrown_the_record(connect_to: Connect) -> None:
    client = connect_to()
    operator = Operator(client, KafkaSettings(max_record_bytes=1 << 20), timeout_seconds=1)
    store.change(client, lambda _: {f"event-{number}": WISH for number in range(2_500)})
    with pytest.raises(EmoStreamError, match=r"^event-0 is still closing"):
        operator.bring_about([Wanted("event-0", state="closed")])


def test_a_process_that_has_not_applied_a_change_is_named(connect_to: Connect) -> None:
    client = connect_to()
    register(client, "/services/audit/host:8003", url="http://host:8003", events=0)
    register(client, "/services/registry/host:8001", url="http://host:8001", events=2**40)
    register(client, "/subscribers/cluster1/9001", url="http://host:9001", events=0)
    store.change(client, lambda _: {"final": msgspec.structs.replace(WISH, state="open")})
    with pytest.raises(EmoStreamError, match=r"^final: subscriber cluster1/9001 did not apply the change in 1 s"):
        operator_of(client).open("final", EventOptions("The final"))


def test_an_event_that_a_record_has_no_room_for_is_not_opened(connect_to: Connect) -> None:
    client = connect_to()
    operator = Operator(client, KafkaSettings(max_record_bytes=1 << 20), timeout_seconds=1)
    store.change(client, lambda _: {f"event-{number}": WISH for number in range(2_500)})
    with pytest.raises(EmoStreamError, match=r"a record with 2501 events could have .* of this size fit"):
        operator.open("final", EventOptions("The final"))
