"""The table of events in ZooKeeper: it is one node, so that a change of any event is one version of the whole."""

from collections.abc import Callable

import msgspec
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from emostream.errors import EmoStreamError
from emostream.events import table as tables
from emostream.events.steps import Seen, View
from emostream.events.table import Table
from emostream.runtime import logs
from emostream.runtime.coordination import BackgroundWork

log = logs.get(__name__)

PATH = "/events"
_NO_NODE = -1


class Follower:
    """Follows the table through any loss of the connection. Safe to use from any thread."""

    def __init__(self, client: KazooClient, on_change: Callable[[Seen], object] = lambda _: None) -> None:
        """Follow once `start` is called. `on_change` is called from kazoo's threads, one call after the other."""
        self._client = client
        self._on_change = on_change
        self.seen: Seen | None = None
        self._is_started = False
        self._reading = BackgroundWork(client, self._read, "ZooKeeper does not answer what the events are", PATH)

    @property
    def revision(self) -> int:
        """The revision that is followed; 0 until the table was read."""
        return self.seen.revision if self.seen else 0

    def start(self) -> None:
        """Begin to follow. A second call does nothing."""
        if not self._is_started:
            self._is_started = True
            self._client.add_listener(self._on_state)
            self._reading.ask()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._reading.ask()
        elif self.seen is not None:
            self._tell(self.seen._replace(is_current=False))

    def _read(self) -> None:
        # A server of ZooKeeper may lag behind the others until it is asked to catch up.
        self._client.sync(PATH)
        stat = self._client.exists(PATH, watch=lambda _: self._reading.ask())
        try:
            content, stat = self._client.get(PATH) if stat else (b"", None)
            table, problems = tables.decode(content)
        except NoNodeError:
            # The watch has told of it.
            return
        except msgspec.DecodeError as error:
            log.error("the table of events cannot be read: the last one stays in force", path=PATH, error=str(error))
            return
        for problem in problems:
            log.error("an entry of the table of events is ignored", path=PATH, problem=problem)
        view = View(table, stat.version if stat else _NO_NODE)
        self._tell(Seen(view, stat.mzxid if stat else 0, is_current=True))

    def _tell(self, seen: Seen) -> None:
        self.seen = seen
        self._on_change(seen)


def read(client: KazooClient) -> Seen:
    """Read the table once. Raises EmoStreamError if it is junk."""
    client.sync(PATH)
    try:
        content, stat = client.get(PATH)
    except NoNodeError:
        return Seen(View({}, _NO_NODE), 0, is_current=True)
    return Seen(View(_decode(content), stat.version), stat.mzxid, is_current=True)


def change(client: KazooClient, how: Callable[[Table], Table]) -> int:
    """Change the table as it is now, also while others change it. Returns the revision that holds the change.

    `how` may raise EmoStreamError, and may be called several times. Raises EmoStreamError if the table has no room.
    """
    while True:
        seen = read(client)
        table = how(seen.view.table)
        if table == seen.view.table:
            return seen.revision
        if replace(client, seen.view.version, table):
            return max(read(client).revision, seen.revision + 1)


def replace(client: KazooClient, version: int, table: Table) -> bool:
    """Put a table in place of the one with this version. Returns False if another one is there by now.

    Entries that cannot be read stay as they are.
    """
    try:
        if version == _NO_NODE:
            client.create(PATH, _encode(table, b""), makepath=True)
            return True
        content, stat = client.get(PATH)
        if stat.version != version:
            return False
        client.set(PATH, _encode(table, content), version=version)
    except (BadVersionError, NoNodeError, NodeExistsError):
        return False
    return True


def _encode(table: Table, content: bytes) -> bytes:
    encoded = tables.encode(table, content)
    if len(encoded) > tables.MAX_TABLE_BYTES:
        raise EmoStreamError(
            f"the table of {len(table)} events would have {len(encoded)} bytes, and ZooKeeper takes "
            f"{tables.MAX_TABLE_BYTES}: archive events that have ended, or give this one a smaller palette."
        )
    return encoded


def _decode(content: bytes) -> dict[str, tables.Definition]:
    try:
        return tables.decode(content)[0]
    except msgspec.DecodeError as error:
        raise EmoStreamError(
            f"the node {PATH} in ZooKeeper holds no table of events ({error}): put back what it held, or delete it and "
            "open the events again."
        ) from error
