"""An election has a new winner when the leader goes, and a registration survives the loss of its session."""

import json
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionLoss, NoNodeError

from emostream.config import ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.runtime.coordination import Election, Registration, connect, process_identity
from emostream_lab.processes import servers
from tests.conftest import Server, running
from tests.integration.silence import silent_address


@pytest.fixture
def settings(zookeeper: Server) -> ZooKeeperSettings:
    return ZooKeeperSettings(hosts=(zookeeper.address,), root=f"/test-{uuid.uuid4().hex[:8]}", session_timeout_ms=4_000)


@pytest.fixture
def connected(settings: ZooKeeperSettings) -> Iterator[Callable[[], KazooClient]]:
    clients = []

    def make() -> KazooClient:
        clients.append(connect(settings))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()
        client.close()


def expire_session(client: KazooClient) -> None:
    """End the session as the server would after a long silence: another connection takes it over and closes it."""
    session_id, password = client.client_id
    other = KazooClient(hosts=client.hosts[0][0] + ":" + str(client.hosts[0][1]), client_id=(session_id, password))
    other.start()
    other.stop()
    other.close()


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_goes_as_soon_as_it_has_answered_is_told_in_a_sentence(
    settings: ZooKeeperSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise ConnectionLoss

    monkeypatch.setattr(KazooClient, "ensure_path", lose)
    with pytest.raises(EmoStreamError, match=r"\(ConnectionLoss\(\)\): is zookeeper\.service active"):
        connect(settings)


def test_a_session_outlasts_a_search_among_dead_servers(zookeeper: Server) -> None:
    """kazoo waits for each of them as long as the session lasts."""
    with silent_address() as one, silent_address() as other:
        settings = ZooKeeperSettings(hosts=(one, other, zookeeper.address), session_timeout_ms=60_000)
        client = connect(settings)
        try:
            for _ in range(3):
                drop_connection(client)
            assert client.state == KazooState.CONNECTED
        finally:
            client.stop()
            client.close()


def drop_connection(client: KazooClient) -> None:
    """Lose the server, and be connected again within the session."""
    states: list[str] = []
    client.add_listener(states.append)
    client._connection._socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: states[:2] == [KazooState.SUSPENDED, KazooState.CONNECTED], 30)
    client.remove_listener(states.append)


def test_one_contender_is_elected_and_the_next_follows_it(connected: Callable[[], KazooClient]) -> None:
    never = threading.Event()
    first, second = (Election(connected(), "/election", name) for name in ("first", "second"))
    assert first.win(never)
    still_waits = threading.Semaphore(0)
    waiting = threading.Thread(target=second.win, args=(never, still_waits.release))
    waiting.start()
    wait_until(lambda: first.contenders() == ["first", "second"])
    assert still_waits.acquire(timeout=30)
    assert first.is_leader
    assert not second.is_leader
    first.resign()
    waiting.join(10)
    assert second.is_leader
    assert not first.is_leader
    assert second.contenders() == ["second"]


def test_contenders_are_elected_in_the_order_in_which_they_came(connected: Callable[[], KazooClient]) -> None:
    never = threading.Event()
    leader, second, third = (Election(connected(), "/election", name) for name in ("leader", "second", "third"))
    assert leader.win(never)
    waiting = []
    polls = [threading.Semaphore(0), threading.Semaphore(0)]
    for election, poll, position in ((second, polls[0], 2), (third, polls[1], 3)):
        waiting.append(threading.Thread(target=election.win, args=(never, poll.release), daemon=True))
        waiting[-1].start()
        wait_until(lambda place=position: len(leader.contenders()) == place)  # type: ignore[misc]
    # A contender that gives up its place at each poll loses it to the other one.
    for poll in (*polls, *polls):
        assert poll.acquire(timeout=30)
    assert leader.contenders() == ["leader", "second", "third"]
    leader.resign()
    waiting[0].join(10)
    assert second.is_leader
    second.resign()
    waiting[1].join(10)
    assert third.is_leader


def test_a_killed_contender_that_is_back_does_not_wait_for_its_own_session_to_end(
    connected: Callable[[], KazooClient],
) -> None:
    stop = threading.Event()
    killed, back, standby = (Election(connected(), "/election", name) for name in ("first", "first", "standby"))
    # Its session stays, as that of a killed process does.
    assert killed.win(stop)
    taking_over = threading.Thread(target=standby.win, args=(stop,))
    taking_over.start()
    wait_until(lambda: standby.contenders() == ["first", "standby"])
    coming_back = threading.Thread(target=back.win, args=(stop,))
    coming_back.start()
    # The session of the killed one never ends here.
    wait_until(lambda: standby.is_leader)
    taking_over.join(10)
    wait_until(lambda: standby.contenders() == ["standby", "first"])
    assert not back.is_leader
    stop.set()
    coming_back.join(10)


def test_a_contender_that_is_told_to_stop_stops_waiting(connected: Callable[[], KazooClient]) -> None:
    leader, other = (Election(connected(), "/election", name) for name in ("leader", "other"))
    stop = threading.Event()
    assert leader.win(stop)
    # It is called while it waits.
    assert not other.win(stop, stop.set)


def test_a_lost_session_ends_leadership_and_it_can_be_won_again(connected: Callable[[], KazooClient]) -> None:
    client = connected()
    election = Election(client, "/election", "only")
    never = threading.Event()
    assert election.win(never)
    expire_session(client)
    wait_until(lambda: not election.is_leader)
    assert election.win(never)


def test_a_leader_resigns_and_closes_in_seconds_while_zookeeper_is_away(tmp_path: Path) -> None:
    port = servers.free_port()
    with running(servers.zookeeper(tmp_path / "zookeeper", port), port) as server:
        client = connect(ZooKeeperSettings(hosts=(server.address,), session_timeout_ms=4_000))
        election = Election(client, "/election", "only")
        assert election.win(threading.Event())
        server.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not client.connected)
        started = time.monotonic()
        election.resign()
        client.stop()
        client.close()
        assert time.monotonic() - started < 10
        assert not election.is_leader


def test_a_registration_is_updated_survives_a_lost_session_and_goes(connected: Callable[[], KazooClient]) -> None:
    client, observer = connected(), connected()
    registration = Registration(client, "/subscribers/a", "first")

    def registered() -> tuple[object, int] | None:
        try:
            value, stat = observer.get("/subscribers/a")
        except NoNodeError:
            return None
        content = json.loads(value)
        assert content.pop("process") == "first"
        return content, stat.ephemeralOwner

    def is_registered(content: object, besides: int = 0) -> bool:
        now = registered()
        return now is not None and now[0] == content and now[1] != besides

    registration.update({"clients": 1})
    wait_until(lambda: is_registered({"clients": 1}))
    registration.update({"clients": 2})
    wait_until(lambda: is_registered({"clients": 2}))
    old_session = observer.get("/subscribers/a")[1].ephemeralOwner
    expire_session(client)
    wait_until(lambda: is_registered({"clients": 2}, besides=old_session))
    registration.withdraw()
    wait_until(lambda: registered() is None)


def content(client: KazooClient, path: str) -> dict[str, Any]:
    """What a node holds; empty where there is none."""
    try:
        registered: dict[str, Any] = json.loads(client.get(path)[0])
    except NoNodeError:
        return {}
    return registered


def holder(client: KazooClient, path: str) -> str | None:
    """The identity of the process whose node this is."""
    return content(client, path).get("process")


def test_a_registration_outlives_a_connection_that_is_lost_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = servers.free_port()
    with running(servers.zookeeper(tmp_path / "zookeeper", port), port) as server:
        settings = ZooKeeperSettings(hosts=(server.address,), session_timeout_ms=4_000)
        client = connect(settings)
        registration = Registration(client, "/services/a", "first")
        registration.update({"n": 1})
        wait_until(lambda: holder(client, "/services/a") == "first")
        get, interrupted = client.get, threading.Event()

        def answer_and_lose_connection(path: str) -> Any:
            answer = get(path)
            if not interrupted.is_set():
                server.process.send_signal(signal.SIGSTOP)
                wait_until(lambda: not client.connected)
                interrupted.set()
            return answer

        monkeypatch.setattr(client, "get", answer_and_lose_connection)
        registration.update({"n": 2})
        assert interrupted.wait(15)
        server.process.send_signal(signal.SIGCONT)
        observer = connect(settings)
        wait_until(lambda: content(observer, "/services/a").get("n") == 2)
        for each in (client, observer):
            each.stop()
            each.close()


def test_a_node_of_an_earlier_session_may_vanish_while_it_is_replaced(
    connected: Callable[[], KazooClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, observer = connected(), connected()
    stale = json.dumps({"process": "first"}).encode()
    observer.create("/services/a", stale, ephemeral=True, makepath=True)
    delete = client.delete

    def delete_what_is_gone(path: str) -> None:
        observer.delete(path)
        delete(path)

    monkeypatch.setattr(client, "delete", delete_what_is_gone)
    Registration(client, "/services/a", "first").update({"n": 2})
    wait_until(lambda: content(observer, "/services/a").get("n") == 2)


def test_a_killed_process_that_is_back_replaces_its_node_at_once(connected: Callable[[], KazooClient]) -> None:
    killed, back = connected(), connected()
    killed.create("/services/a", json.dumps({"process": "first"}).encode(), ephemeral=True, makepath=True)
    Registration(back, "/services/a", "first").update({})
    # The session of the killed process stays.
    wait_until(lambda: back.get("/services/a")[1].ephemeralOwner == back.client_id[0])


def test_a_name_that_is_taken_stays_with_its_first_holder(connected: Callable[[], KazooClient]) -> None:
    first_client, second_client, observer = connected(), connected(), connected()
    first = Registration(first_client, "/services/a", "first")
    first.update({})
    wait_until(lambda: holder(observer, "/services/a") == "first")
    second = Registration(second_client, "/services/a", "second")
    second.update({"n": 1})
    wait_until(lambda: second.holder == "first")
    second.withdraw()
    second.update({"n": 2})
    first.update({"n": 1})
    wait_until(lambda: content(observer, "/services/a") == {"n": 1, "process": "first"})
    assert not second.was_made
    first.withdraw()
    wait_until(lambda: holder(observer, "/services/a") == "second")
    assert not second.holder


def test_a_node_that_was_deleted_is_made_again(connected: Callable[[], KazooClient]) -> None:
    client, observer = connected(), connected()
    registration = Registration(client, "/services/a", "first")
    for n in range(3):
        registration.update({"n": n})
    wait_until(lambda: content(observer, "/services/a").get("n") == 2)
    made = observer.get("/services/a")[1].czxid
    observer.delete("/services/a")

    def is_made_again() -> bool:
        stat = observer.exists("/services/a")
        return stat is not None and stat.czxid > made

    wait_until(is_made_again)


def test_a_leader_whose_node_is_deleted_leads_no_more_and_can_be_elected_again(
    connected: Callable[[], KazooClient],
) -> None:
    never = threading.Event()
    observer = connected()
    election, waiting = (Election(connected(), "/election", name) for name in ("leader", "waiting"))
    assert election.win(never)
    contending = threading.Thread(target=waiting.win, args=(never,), daemon=True)
    contending.start()
    wait_until(lambda: election.contenders() == ["leader", "waiting"])
    _delete_place_of(observer, "leader")
    wait_until(lambda: not election.is_leader)
    contending.join(10)
    assert waiting.is_leader
    again = threading.Thread(target=election.win, args=(never,), daemon=True)
    again.start()
    wait_until(lambda: waiting.contenders() == ["waiting", "leader"])
    _delete_place_of(observer, "leader")
    waiting.resign()
    again.join(10)
    assert election.is_leader


def _delete_place_of(client: KazooClient, identity: str) -> None:
    [place] = [
        f"/election/{name}"
        for name in client.get_children("/election")
        if client.get(f"/election/{name}")[0] == identity.encode()
    ]
    client.delete(place)


def test_a_leader_notices_the_loss_of_its_node_after_a_lost_connection_too(
    connected: Callable[[], KazooClient],
) -> None:
    client, observer = connected(), connected()
    states: list[str] = []
    client.add_listener(states.append)
    election = Election(client, "/election", "leader")
    assert election.win(threading.Event())
    client._connection._socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: states == [KazooState.SUSPENDED, KazooState.CONNECTED])
    assert election.is_leader
    _delete_place_of(observer, "leader")
    wait_until(lambda: not election.is_leader)


def test_processes_at_one_address_of_different_hosts_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    own = process_identity("0.0.0.0:8101")
    assert own == process_identity("0.0.0.0:8101") != process_identity("0.0.0.0:8102")
    monkeypatch.setattr("emostream.runtime.coordination._network_namespace", lambda: "net:[1]")
    assert process_identity("0.0.0.0:8101") != own


def test_no_server_is_told_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emostream.runtime.coordination._CONNECT_TIMEOUT_SECONDS", 1)
    settings = ZooKeeperSettings(hosts=(f"{servers.HOST}:{servers.free_port()}",))
    with pytest.raises(EmoStreamError, match="EMOSTREAM_ZOOKEEPER_HOSTS"):
        connect(settings)
