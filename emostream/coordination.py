"""ZooKeeper: elections of the one that works, and the announcement of subscribers.

What a caller may assume: while the session is CONNECTED, what it announced is there and what it won it still holds. In
SUSPENDED (no server answers) nobody else has taken over yet, but may soon. After LOST the announcement and the election
are gone. Losing an election does not stop a leader that is busy: what it writes must be harmless or fenced.
"""

import contextlib
import json
import platform
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import CancelledError, KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from emostream import logs
from emostream.config import ZooKeeperSettings
from emostream.errors import EmoStreamError

log = logs.get(__name__)

_CONNECT_TIMEOUT_SECONDS = 30
_ELECTION_POLL_SECONDS = 1.0
_RESIGN_SECONDS = 2.0
_RETRY_FOREVER = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2, "ignore_expire": False}


def connect(settings: ZooKeeperSettings) -> KazooClient:
    """A started client below `settings.root`. Raises EmoStreamError when no server answers in 30 s.

    After that it reconnects by itself for ever; `client.add_listener` tells of each change of state.
    """
    client = new_client(settings)
    if not client.start_async().wait(_CONNECT_TIMEOUT_SECONDS):
        client.stop()
        client.close()
        raise EmoStreamError(
            f"no ZooKeeper of {','.join(settings.hosts)} answered in {_CONNECT_TIMEOUT_SECONDS} s; is "
            "zookeeper.service active, and is EMOSTREAM_ZOOKEEPER_HOSTS right?"
        )
    client.ensure_path("/")
    return client


def new_client(settings: ZooKeeperSettings) -> KazooClient:
    """The same client, not started: for a service that starts without ZooKeeper too (`client.start_async()`)."""
    return KazooClient(
        hosts=",".join(settings.hosts) + settings.root,
        timeout=settings.session_timeout_ms / 1000,
        connection_retry=dict(_RETRY_FOREVER),
        command_retry={**_RETRY_FOREVER, "max_tries": 3},
    )


def process_identity(address: str) -> str:
    """What tells the process at this `host:port` from all others alive, and stays when it is started again."""
    return f"{platform.node()}/{address}"


class Election:
    """At most one contender works at a time, as long as its ZooKeeper session lasts.

    While the session is SUSPENDED the leader goes on: nobody can be elected before the session ends. It cannot know in
    time when that happens, so its writes must be fenced (aggregator) or harmless when repeated (publisher).

    `identity` (see `process_identity`) is of one process at a time. Who contends with it is a killed one that is back,
    so the place of the killed one is given up at once, where its session would keep it for seconds.
    """

    def __init__(self, client: KazooClient, path: str, identity: str) -> None:
        self._client = client
        self._path = path
        self._identity = identity
        self._lock: Any = None
        client.add_listener(self._on_state)

    def win(self, stop: threading.Event, on_waiting: Callable[[], object] = lambda: None) -> bool:
        """Wait until elected; False if `stop` was set first. Call it again after `is_leader` turned False.

        Contenders are elected in the order in which they came. `on_waiting` is called every second until the end.
        """
        while not stop.is_set():
            lock = self._client.Lock(self._path, self._identity)
            # In a thread of its own: a wait with a time-out would give up its place in the queue each time.
            acquiring = threading.Thread(target=self._acquire, args=(lock,), daemon=True)
            acquiring.start()
            while acquiring.is_alive():
                acquiring.join(_ELECTION_POLL_SECONDS)
                if not acquiring.is_alive():
                    break
                if stop.is_set():
                    lock.cancel()
                    return False
                on_waiting()
            if self._holds(lock):
                return True
            stop.wait(_ELECTION_POLL_SECONDS)
        return False

    def _acquire(self, lock: Any) -> None:
        try:
            self._give_up_earlier_place()
            lock.acquire()
        except CancelledError:
            pass
        except (KazooException, KazooTimeoutError) as error:
            log.warning("election is not answered", path=self._path, error=repr(error))

    def _give_up_earlier_place(self) -> None:
        self._client.ensure_path(self._path)
        for name in self._client.get_children(self._path):
            with contextlib.suppress(NoNodeError):
                node = f"{self._path}/{name}"
                content, _ = self._client.get(node)
                if content == self._identity.encode():
                    self._client.delete(node)

    def _holds(self, lock: Any) -> bool:
        """Whether the lock is ours; the session may have been lost just after it was acquired, and the lock with it."""
        self._lock = lock
        with contextlib.suppress(KazooException, KazooTimeoutError):
            if lock.is_acquired and self._client.exists(f"{self._path}/{lock.node}"):
                return True
        self._lock = None
        return False

    @property
    def is_leader(self) -> bool:
        """False before the election is won, and again after the session was lost."""
        return self._lock is not None and bool(self._lock.is_acquired)

    def resign(self) -> None:
        """Let the next contender in at once; without ZooKeeper, when the session ends. Harmless when not elected."""
        if self.is_leader:
            # In a thread of its own: it would wait for ZooKeeper for ever.
            releasing = threading.Thread(target=_release, args=(self._lock,), daemon=True)
            releasing.start()
            releasing.join(_RESIGN_SECONDS)
        self._lock = None

    def contenders(self) -> list[str]:
        """The identities of all contenders, the leader's first."""
        found: list[str] = self._client.Lock(self._path).contenders()
        return found

    def _on_state(self, state: str) -> None:
        if state == KazooState.LOST:
            self._lock = None


def _release(lock: Any) -> None:
    with contextlib.suppress(KazooException, KazooTimeoutError):
        lock.release()


class Announcement:
    """An ephemeral node that holds a JSON object, made again after each loss of the session, until withdrawn.

    Safe to use from any thread; `update` and `withdraw` never wait for ZooKeeper.
    """

    def __init__(self, client: KazooClient, path: str) -> None:
        self._client = client
        self._path = path
        self.was_made = False
        """Whether the node has been made at least once."""
        self._value: bytes | None = None
        # At most one thread writes, however long ZooKeeper takes; what changes meanwhile it writes next.
        self._is_writing = False
        self._has_changed = False
        self._lock = threading.Lock()  # of these three; held for moments only
        client.add_listener(self._on_state)

    def update(self, content: Mapping[str, Any]) -> None:
        """Announce this content from now on."""
        self._set(json.dumps(content).encode())

    def withdraw(self) -> None:
        """Take the node away, for good."""
        self._set(None)

    def _set(self, value: bytes | None) -> None:
        with self._lock:
            self._value = value
        self._write_soon()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._write_soon()

    def _write_soon(self) -> None:
        with self._lock:
            self._has_changed = True
            if self._is_writing:
                return
            self._is_writing = True
        self._client.handler.spawn(self._write)

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._has_changed:
                    self._is_writing = False
                    return
                self._has_changed = False
                value = self._value
            try:
                self._write_value(value)
                self.was_made = self.was_made or value is not None
            except (KazooException, KazooTimeoutError) as error:
                # Once ZooKeeper is back, `_on_state` writes again.
                log.warning("announcement is not answered", path=self._path, error=repr(error))

    def _write_value(self, value: bytes | None) -> None:
        if value is None:
            with contextlib.suppress(NoNodeError):
                self._client.delete(self._path)
            return
        try:
            stat = self._client.set(self._path, value)
        except NoNodeError:
            self._client.create(self._path, value, ephemeral=True, makepath=True)
        else:
            if stat.ephemeralOwner != self._client.client_id[0]:
                # A node of our own earlier session: it would vanish with that one.
                self._client.delete(self._path)
                self._client.create(self._path, value, ephemeral=True, makepath=True)
