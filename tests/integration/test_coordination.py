"""Elections pass on when a leader goes, and an announcement survives the loss of its session."""

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from emostream.config import ZooKeeperSettings
from emostream.coordination import Announcement, Election, connect
from emostream.errors import EmoStreamError
from emostream.local import servers
from tests.conftest import Server, running


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


def test_one_contender_is_elected_and_the_next_follows_it(connected: Callable[[], KazooClient]) -> None:
    never = threading.Event()
    first, second = (Election(connected(), "/election", name) for name in ("first", "second"))
    assert first.win(never)
    waiting = threading.Thread(target=second.win, args=(never,))
    waiting.start()
    time.sleep(1.5)
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
    for election, position in ((second, 2), (third, 3)):
        waiting.append(threading.Thread(target=election.win, args=(never,), daemon=True))
        waiting[-1].start()
        wait_until(lambda place=position: len(leader.contenders()) == place)  # type: ignore[misc]
    # Long enough for a contender that gives up its place at each poll to lose it.
    time.sleep(2.5)
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
    # Its client goes on, as the session of a killed process does.
    assert killed.win(stop)
    taking_over = threading.Thread(target=standby.win, args=(stop,))
    taking_over.start()
    wait_until(lambda: standby.contenders() == ["first", "standby"])
    coming_back = threading.Thread(target=back.win, args=(stop,))
    coming_back.start()
    # Sooner than any session ends.
    taking_over.join(2)
    assert standby.is_leader
    wait_until(lambda: standby.contenders() == ["standby", "first"])
    assert not back.is_leader
    stop.set()
    coming_back.join(10)


def test_a_contender_that_is_told_to_stop_stops_waiting(connected: Callable[[], KazooClient]) -> None:
    leader, other = (Election(connected(), "/election", name) for name in ("leader", "other"))
    stop = threading.Event()
    assert leader.win(stop)
    threading.Timer(0.5, stop.set).start()
    assert not other.win(stop)


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


def test_an_announcement_is_updated_survives_a_lost_session_and_goes(connected: Callable[[], KazooClient]) -> None:
    client, observer = connected(), connected()
    announcement = Announcement(client, "/subscribers/a")

    def announced() -> tuple[object, int] | None:
        try:
            value, stat = observer.get("/subscribers/a")
        except NoNodeError:
            return None
        return json.loads(value), stat.ephemeralOwner

    def is_announced(content: object, besides: int = 0) -> bool:
        now = announced()
        return now is not None and now[0] == content and now[1] != besides

    announcement.update({"clients": 1})
    wait_until(lambda: is_announced({"clients": 1}))
    announcement.update({"clients": 2})
    wait_until(lambda: is_announced({"clients": 2}))
    old_session = observer.get("/subscribers/a")[1].ephemeralOwner
    expire_session(client)
    wait_until(lambda: is_announced({"clients": 2}, besides=old_session))
    announcement.withdraw()
    wait_until(lambda: announced() is None)


def test_no_server_is_told_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emostream.coordination._CONNECT_TIMEOUT_SECONDS", 1)
    settings = ZooKeeperSettings(hosts=(f"{servers.HOST}:{servers.free_port()}",))
    with pytest.raises(EmoStreamError, match="EMOSTREAM_ZOOKEEPER_HOSTS"):
        connect(settings)
