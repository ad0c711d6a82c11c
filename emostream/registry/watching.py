"""Follows a few small trees of ZooKeeper live, through any loss of the connection, in a thread of its own."""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from emostream.runtime import logs

log = logs.get(__name__)

_RETRY_SECONDS = 1.0
_LEAF_DEPTH = 3
_READ_TIMEOUT_SECONDS = 10


class Observer(Protocol):
    """Who is told, from the watching thread."""

    def put(self, path: str, value: bytes) -> None:
        """A leaf is there, or has another value."""

    def remove(self, path: str) -> None:
        """A leaf is gone."""

    def is_current(self) -> None:
        """All that is there has been told; until `is_stale` so is each change."""

    def is_stale(self) -> None:
        """ZooKeeper does not answer, or not yet: what was told last may no longer be so."""


class TreeWatch:
    """Watches the leaves `/root/group/leaf` below each root, by ZooKeeper's one-shot watches.

    An event only marks its path as dirty: the thread reads what is dirty, and sets the watch again as it reads. So a
    change between an event and the reading is seen, and many events of one node cost one reading.

    kazoo's TreeCache cannot say when its view is current again: after a reconnection within the session it does not
    tell that all is read, and it takes a read that failed for done. It also needs a thread for each root.
    """

    def __init__(self, client: KazooClient, roots: Sequence[str], observer: Observer) -> None:
        """The client must not be started yet, so that no change of its state is missed."""
        self._client = client
        self._roots = roots
        self._observer = observer
        self._leaves: dict[str, set[str]] = {}
        """The names of the leaves that were told, by the path of their group."""
        # Paths to read: never more than there are nodes.
        self._dirty: set[str] = set()
        self._is_connected = False
        self._is_stopped = False
        self._changed = threading.Condition()
        client.add_listener(self._on_state)

    def run(self) -> None:
        """Watch until stopped."""
        while (dirty := self._next_dirty()) is not None:
            try:
                self._read(dirty)
            except (KazooException, KazooTimeoutError) as error:
                log.warning("ZooKeeper did not answer; reading everything again", error=repr(error))
                with self._changed:
                    self._dirty.update(self._roots)
                    self._changed.wait_for(lambda: self._is_stopped, _RETRY_SECONDS)
            else:
                self._tell_current()

    def stop(self) -> None:
        """End `run`, once ZooKeeper has answered what it was asked last, or the client is stopped."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _on_state(self, state: str) -> None:
        with self._changed:
            self._is_connected = state == KazooState.CONNECTED
            # Watches do not outlast a connection.
            self._dirty.update(self._roots)
            self._changed.notify()
        if state != KazooState.CONNECTED:
            self._observer.is_stale()

    def _on_event(self, event: Any) -> None:
        if event.path is None:
            # The connection is lost, of which `_on_state` hears too.
            return
        with self._changed:
            self._dirty.add(event.path)
            self._changed.notify()

    def _next_dirty(self) -> set[str] | None:
        """What is to be read, once there is something and it can be; None when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or (self._is_connected and self._dirty))
            if self._is_stopped:
                return None
            dirty, self._dirty = self._dirty, set()
            return dirty

    def _tell_current(self) -> None:
        with self._changed:
            is_current = self._is_connected and not self._dirty.intersection(self._roots)
        if is_current:
            self._observer.is_current()

    def _read(self, dirty: Iterable[str]) -> None:
        """Read the dirty paths, and all that is below a root that is dirty, or below a group that is new."""
        leaves = {path for path in dirty if path.count("/") == _LEAF_DEPTH}
        groups = {path for path in dirty if path.count("/") == _LEAF_DEPTH - 1}
        for root in self._roots:
            if root in dirty:
                self._client.ensure_path(root)
                names = self._client.get_children(root, watch=self._on_event)
                groups.update(f"{root}/{name}" for name in names)
                # All is read anew, so that nothing is missed that came or went meanwhile.
                known = {group: told for group, told in self._leaves.items() if group.startswith(f"{root}/")}
                groups.update(known)
                leaves.update(f"{group}/{name}" for group, told in known.items() for name in told)
        for group in sorted(groups):
            leaves.update(self._read_group(group))
        self._read_leaves(sorted(leaves))

    def _read_group(self, group: str) -> set[str]:
        """Tell of the leaves that are gone; returns the paths of those that are new."""
        try:
            names = set(self._client.get_children(group, watch=self._on_event))
        except NoNodeError:
            names = set()
        told = self._leaves.setdefault(group, set())
        for name in told - names:
            self._forget(f"{group}/{name}")
        return {f"{group}/{name}" for name in names - told}

    def _read_leaves(self, paths: Sequence[str]) -> None:
        # All requests go out before the first answer is waited for.
        reads = [(path, self._client.get_async(path, watch=self._on_event)) for path in paths]
        for path, read in reads:
            try:
                value, _ = read.get(timeout=_READ_TIMEOUT_SECONDS)
            except NoNodeError:
                self._forget(path)
            else:
                group, _, name = path.rpartition("/")
                self._leaves.setdefault(group, set()).add(name)
                self._observer.put(path, value)

    def _forget(self, path: str) -> None:
        group, _, name = path.rpartition("/")
        if name in self._leaves.get(group, ()):
            self._leaves[group].remove(name)
            self._observer.remove(path)
