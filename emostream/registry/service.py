"""A registry's life: it follows ZooKeeper in a thread, answers from memory, and ends when it is told to."""

import asyncio
import random
import signal
import time
from collections.abc import Callable

import msgspec
import uvloop

from emostream.config import RegistrySettings, TokensSettings, ZooKeeperSettings
from emostream.events.steps import Seen
from emostream.events.store import Follower
from emostream.registry import metrics
from emostream.registry.app import create_admin_app, create_app
from emostream.registry.events import Events
from emostream.registry.live import Collector
from emostream.registry.reception import Sources
from emostream.registry.topology import SERVICES, SUBSCRIBERS, Topology
from emostream.registry.watching import TreeWatch
from emostream.runtime import http, logs, process
from emostream.runtime.background import run_in_thread
from emostream.runtime.coordination import Registration, new_client, process_identity
from emostream.runtime.http import Limits
from emostream.runtime.listener import Listener, listen_for_operators, listen_for_viewers
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import Gate

log = logs.get(__name__)

_CONDITION = "zookeeper"
_END_SECONDS = 2.0


def run(settings: RegistrySettings, zookeeper: ZooKeeperSettings, tokens: TokensSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises EmoStreamError if the address cannot be bound, or tokens have no key."""
    gate = Gate(tokens)
    process.raise_file_limit(settings.variable("max_connections"), settings.max_connections, http.MAX_ADMIN_CONNECTIONS)
    with listen_for_viewers(settings) as listener, listen_for_operators(settings) as admin:
        uvloop.run(_serve(listener, admin, settings, zookeeper, gate))


async def _serve(
    listener: Listener, admin: Listener, settings: RegistrySettings, zookeeper: ZooKeeperSettings, gate: Gate
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    readiness = Readiness(_CONDITION)
    readiness.not_met(_CONDITION, f"no ZooKeeper of {','.join(zookeeper.hosts)} has answered yet")
    topology = Topology(settings.pending_seconds, random.random)
    client = new_client(zookeeper)
    updater = _TopologyUpdater(topology, readiness, loop)
    updater.is_stale()
    watch = TreeWatch(client, (SUBSCRIBERS, SERVICES), updater)
    client.start_async()
    identity = process_identity(listener.address)
    registration = Registration(client, f"/services/registry/{listener.name}", identity)
    collector = Collector(topology.registered)
    events = Events(topology.registered)

    def follow(seen: Seen) -> None:
        events.follow(seen)
        content = {"url": listener.url, "admin_url": admin.url, "leader": False, "events": seen.revision}
        registration.update(content)

    registration.update({"url": listener.url, "admin_url": admin.url, "leader": False, "events": 0})
    Follower(client, lambda seen: loop.call_soon_threadsafe(follow, seen)).start()
    watching = run_in_thread("zookeeper", watch.run)
    watching.add_done_callback(lambda _: stop.set())
    log.info("registry listens", url=listener.url, admin_url=admin.url)
    app = create_app(settings, readiness, Sources(topology, collector, events, gate), time.monotonic)
    # The topology is read where it is written: on this loop.
    admin_app = create_admin_app(readiness, topology, collector, time.monotonic)
    limits = Limits(connections=settings.max_connections, receiving_bytes=settings.max_receiving_bytes)
    await asyncio.gather(http.serve(app, listener.socket, stop, limits), http.serve(admin_app, admin.socket, stop))
    # ZooKeeper, should it be away, may not hold up the end.
    watch.stop()
    await asyncio.wait((run_in_thread("end", client.stop), watching), timeout=_END_SECONDS)
    if watching.done():
        watching.result()
    log.info("registry ends")


class _TopologyUpdater:
    """Writes what the watching thread sees into the topology, on the loop's thread, where it is read too."""

    def __init__(self, topology: Topology, readiness: Readiness, loop: asyncio.AbstractEventLoop) -> None:
        self._topology = topology
        self._readiness = readiness
        self._loop = loop

    def put(self, path: str, value: bytes) -> None:
        self._soon(self._put, path, value)

    def remove(self, path: str) -> None:
        self._soon(self._remove, path)

    def is_current(self) -> None:
        self._soon(self._set_stale_since, None)

    def is_stale(self) -> None:
        self._soon(self._set_stale_since, time.time_ns() // 1_000_000)

    def _soon(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _put(self, path: str, value: bytes) -> None:
        metrics.CHANGES.labels("put").inc()
        try:
            self._topology.put(path, value)
        except msgspec.DecodeError as error:
            # The node may have described a process before.
            self._topology.remove(path)
            metrics.UNREADABLE.inc()
            log.error("a node in ZooKeeper describes no known process", path=path, error=str(error))

    def _remove(self, path: str) -> None:
        metrics.CHANGES.labels("remove").inc()
        log.info("a node in ZooKeeper is gone", path=path)
        self._topology.remove(path)

    def _set_stale_since(self, now_ms: int | None) -> None:
        if now_ms is None:
            self._readiness.met(_CONDITION)
        if now_ms is None or self._topology.stale_since_ms is None:
            self._topology.stale_since_ms = now_ms
        metrics.STALE.set(now_ms is not None)
