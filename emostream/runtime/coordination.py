"""ZooKeeper: elections, and the registration of every process.

What a caller may assume: while the session is CONNECTED, what it registered is there and what it won it still holds. In
SUSPENDED (no server answers) nobody else has taken over yet, but may soon. After LOST the registration and the election
are gone. Losing an election does not stop a leader that is busy: what it writes must be harmless or fenced.
"""

import contextlib
import hashlib
import json
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import CancelledError, ConnectionLoss, KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.states import EventType

from emostream import model
from emostream.config import ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.runtime import logs, tls

log = logs.get(__name__)

_CONNECT_TIMEOUT_SECONDS = 30
_SERVER_TIMEOUT_SECONDS = 1.0
_ELECTION_POLL_SECONDS = 1.0
_RESIGN_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_PROCESS = "process"
_RETRY_FOREVER = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2, "ignore_expire": False}


def connect(settings: ZooKeeperSettings) -> KazooClient:
    """A started client below `settings.root`. Raises EmoStreamError when no server answers in 30 s.

    After that it reconnects by itself for ever; `client.add_listener` tells of each change of state.
    """
    client = new_client(settings)
    problem = f"no server answered in {_CONNECT_TIMEOUT_SECONDS} s"
    try:
        if client.start_async().wait(_CONNECT_TIMEOUT_SECONDS):
            client.ensure_path("/")
            return client
    except (KazooException, KazooTimeoutError) as error:
        # Such as a server that went as soon as it had answered.
        problem = repr(error)
    client.stop()
    client.close()
    raise EmoStreamError(
        f"ZooKeeper at {','.join(settings.hosts)} cannot be used ({problem}): is zookeeper.service active, and is "
        "EMOSTREAM_ZOOKEEPER_HOSTS right?"
    )


def new_client(settings: ZooKeeperSettings) -> KazooClient:
    """The same client, not started: for a service that starts without ZooKeeper too (`client.start_async()`)."""
    return KazooClient(
        hosts=",".join(settings.hosts) + settings.root,
        timeout=settings.session_timeout_ms / 1000,
        handler=_handler(),
        connection_retry=dict(_RETRY_FOREVER),
        command_retry={**_RETRY_FOREVER, "max_tries": 3},
        **tls.zookeeper_client_options(),
    )


def _handler() -> Any:
    """kazoo's own, which gives up a silent server soon enough to try another one before the session ends.

    kazoo notices a dead server after two thirds of the session. By default it then waits for a connection to the next
    one for as long as a whole session, and that one may be dead.
    """
    handler = SequentialThreadingHandler()
    connect_patiently = handler.create_connection

    def create_connection(*arguments: Any, timeout: float, **more: Any) -> Any:
        return connect_patiently(*arguments, timeout=min(timeout, _SERVER_TIMEOUT_SECONDS), **more)

    handler.create_connection = create_connection
    return handler


def process_identity(address: str) -> str:
    """What tells the process that holds this `host:port` from all others alive, and stays when it is started again.

    Only one process can hold an address, but only within a machine and a network namespace. So both are part of it:
    host names repeat, and several hosts may bind 0.0.0.0.
    """
    place = hashlib.sha256(f"{_read_or_empty('/etc/machine-id')} {_network_namespace()}".encode()).hexdigest()[:12]
    return f"{platform.node()}/{address}/{place}"


def _read_or_empty(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _network_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return ""


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
            log.warning("ZooKeeper does not answer an election", path=self._path, error=repr(error))

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
        if lock.is_acquired:
            with contextlib.suppress(KazooException, KazooTimeoutError):
                self._check_place(lock)
                return self._lock is lock
        self._lock = None
        return False

    def _check_place(self, lock: Any) -> None:
        """End the leadership where its node is gone, and be told when it goes."""
        if not self._client.exists(f"{self._path}/{lock.node}", watch=lambda event: self._on_event(lock, event)):
            self._lose(lock)

    def _on_event(self, lock: Any, event: Any) -> None:
        if event.type == EventType.DELETED:
            self._lose(lock)

    def _lose(self, lock: Any) -> None:
        if self._lock is lock:
            log.error("the leader's node in ZooKeeper was deleted, so another process may lead", path=self._path)
            self._lock = None

    @property
    def is_leader(self) -> bool:
        """False before the election is won, and again after the session was lost or the leader's node deleted."""
        lock = self._lock
        return lock is not None and bool(lock.is_acquired)

    def resign(self) -> None:
        """Let the next contender in at once; without ZooKeeper, when the session ends. Harmless when not elected."""
        lock, self._lock = self._lock, None
        if lock is not None and lock.is_acquired:
            # In a thread of its own: it would wait for ZooKeeper for ever.
            releasing = threading.Thread(target=_release, args=(lock,), daemon=True)
            releasing.start()
            releasing.join(_RESIGN_SECONDS)

    def contenders(self) -> list[str]:
        """The identities of all contenders, the leader's first."""
        found: list[str] = self._client.Lock(self._path).contenders()
        return found

    def _on_state(self, state: str) -> None:
        lock = self._lock
        if state == KazooState.LOST:
            self._lock = None
        elif state == KazooState.CONNECTED and lock is not None:
            # Watches do not outlast a connection. In a thread of its own: a listener must not wait for ZooKeeper.
            self._client.handler.spawn(self._check_place_again, lock)

    def _check_place_again(self, lock: Any) -> None:
        # Where it is not answered, the connection is lost again, and checked again when it is back.
        with contextlib.suppress(KazooException, KazooTimeoutError):
            self._check_place(lock)


def _release(lock: Any) -> None:
    with contextlib.suppress(KazooException, KazooTimeoutError):
        lock.release()


class BackgroundWork:
    """Does some work with ZooKeeper in a thread of kazoo's, one time after the other, whenever it is asked to.

    However long ZooKeeper takes, at most one thread works. If it is asked meanwhile, it does the work once more. Work
    that raises is logged and done again after a second. Without a connection it is not: whoever asks must ask again
    once ZooKeeper is back.
    """

    def __init__(self, client: KazooClient, work: Callable[[], object], failure: str, path: str) -> None:
        """`failure` and `path` are logged when `work` raises."""
        self._client = client
        self._work = work
        self._failure = failure
        self._path = path
        self._is_working = False
        self._is_asked = False
        self._lock = threading.Lock()  # of these two; held for moments only

    def ask(self) -> None:
        """Have the work done soon. Never waits, and may be called from any thread."""
        with self._lock:
            self._is_asked = True
            if self._is_working:
                return
            self._is_working = True
        self._client.handler.spawn(self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._is_asked:
                    self._is_working = False
                    return
                self._is_asked = False
            try:
                self._work()
            except Exception as error:
                log.warning(self._failure, path=self._path, error=repr(error))
                if self._client.connected:
                    self._is_asked = True
                    self._client.handler.sleep_func(_RETRY_SECONDS)


class Registration:
    """An ephemeral node that holds a JSON object, made again after each loss of the session or of the node itself.

    The object carries `identity` (see `process_identity`) as `process`. A node of the same identity is this process's
    own, or of a killed one whose place this process has taken, and is replaced at once. A node of any other process
    stays: that is logged, and this process is registered as soon as the node is gone.

    Safe to use from any thread; `update` and `withdraw` never wait for ZooKeeper.
    """

    def __init__(self, client: KazooClient, path: str, identity: str) -> None:
        self._client = client
        self._path = path
        self._identity = identity
        self.was_made = False
        """Whether the node has been made at least once."""
        self.holder = ""
        """The process that has the name, where another one has it."""
        self._value: bytes | None = None
        self._writing = BackgroundWork(client, self._write, "ZooKeeper does not answer a registration", path)
        client.add_listener(self._on_state)

    def update(self, content: Mapping[str, Any]) -> None:
        """Register with this content from now on."""
        self._set(json.dumps({**content, _PROCESS: self._identity}).encode())

    def withdraw(self) -> None:
        """Take the node away, for good. The node of another process stays."""
        self._set(None)

    def _set(self, value: bytes | None) -> None:
        self._value = value
        self._writing.ask()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._writing.ask()

    def _on_event(self, event: Any) -> None:
        # Each own write changes the node; another process's node is read again after each change.
        if event.type == EventType.DELETED or (event.type == EventType.CHANGED and self.holder):
            self._writing.ask()

    def _write(self) -> None:
        value = self._value
        self._withdraw() if value is None else self._register(value)

    def _withdraw(self) -> None:
        node = self._read()
        if node is not None and node.identity == self._identity:
            self._delete()

    def _register(self, value: bytes) -> None:
        node = self._read()
        if node is not None and node.identity != self._identity:
            self._tell_taken(node.identity or "a process of an earlier version")
        else:
            self._put(value, node)
            self.holder = ""
            self.was_made = True
        if not self._client.exists(self._path, watch=self._on_event):
            raise NoNodeError

    def _put(self, value: bytes, node: "_Node | None") -> None:
        if node is not None:
            if node.is_of_session:
                self._client.set(self._path, value)
                return
            # It would vanish with the earlier session.
            self._delete()
        self._client.create(self._path, value, ephemeral=True, makepath=True)

    def _delete(self) -> None:
        with contextlib.suppress(NoNodeError):
            self._client.delete(self._path)

    def _read(self) -> "_Node | None":
        """Raises KazooException where there is no session."""
        try:
            content, stat = self._client.get(self._path)
        except NoNodeError:
            return None
        session = self._client.client_id
        if session is None:
            raise ConnectionLoss
        return _Node(_identity_in(content), stat.ephemeralOwner == session[0])

    def _tell_taken(self, holder: str) -> None:
        if self.holder != holder:
            log.error(
                "another process has this name: give one of the two another name or address",
                path=self._path,
                holder=holder,
            )
        self.holder = holder


@dataclass(frozen=True)
class _Node:
    """A node as it is: of which process, and whether it lasts as long as the client's session."""

    identity: str
    is_of_session: bool


def _identity_in(content: bytes) -> str:
    """The `process` of a registration; empty where it names none."""
    return str(_decode(content).get(_PROCESS, ""))


def children(client: KazooClient, path: str) -> list[str]:
    """The names of the nodes below a node, in order; none if it does not exist."""
    try:
        return sorted(client.get_children(path))
    except NoNodeError:
        return []


def registrations(client: KazooClient, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read each node below a node: its name, and its JSON object, which is empty if it cannot be read.

    A node that goes meanwhile is left out.
    """
    for name in children(client, path):
        with contextlib.suppress(NoNodeError):
            content, _ = client.get(f"{path}/{name}")
            yield name, _decode(content)


def _decode(content: bytes) -> dict[str, Any]:
    try:
        return model.decode(content, dict[str, Any])
    except msgspec.DecodeError:
        return {}
