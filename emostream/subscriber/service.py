"""A subscriber's life: it listens, fills its history, is registered, serves, and drains when it is told to stop."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import uvloop

from emostream import model
from emostream.config import KafkaSettings, SubscriberSettings, TokensSettings, ZooKeeperSettings
from emostream.events.steps import Seen
from emostream.events.store import Follower
from emostream.runtime import http, logs, process
from emostream.runtime.background import run_in_thread
from emostream.runtime.coordination import Registration, new_client, process_identity
from emostream.runtime.listener import Listener, listen_for_operators, listen_for_viewers
from emostream.runtime.readiness import Readiness
from emostream.subscriber import consumer, sockets
from emostream.subscriber.connection import Handshake
from emostream.subscriber.consumer import SwarmConsumer
from emostream.subscriber.history import Entry
from emostream.subscriber.server import MAX_HANDSHAKES, Server
from emostream.tokens.gate import Gate

log = logs.get(__name__)

# How far above the public port the admin listener's is, where no setting tells it.
_ADMIN_PORT_DISTANCE = 1_000
_REGISTRATION_SECONDS = 1.0
_END_SECONDS = 2.0


def run(
    settings: SubscriberSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings, tokens: TokensSettings
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises EmoStreamError where it cannot start."""
    gate = Gate(tokens)
    more = MAX_HANDSHAKES + http.MAX_ADMIN_CONNECTIONS
    process.raise_file_limit(settings.variable("capacity"), settings.capacity, more)
    with _listen(settings) as listener, _listen_for_operators(settings, listener) as admin:
        uvloop.run(_serve(Listeners(listener, admin), settings, kafka, zookeeper, gate))


@dataclass(frozen=True)
class Listeners:
    """Where viewers and operators are answered."""

    public: Listener
    admin: Listener


async def _serve(
    listeners: Listeners, settings: SubscriberSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings, gate: Gate
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    readiness = Readiness(consumer.CONDITION, _Presence.CONDITION, "drain")
    readiness.met("drain")
    server = Server(settings, readiness, gate)

    async def publish(entry: Entry, totals: model.Counts, parts: Mapping[str, model.EventPart]) -> None:
        server.publish(entry, totals, parts)

    def publish_from_thread(entry: Entry, totals: model.Counts, parts: Mapping[str, model.EventPart]) -> None:
        asyncio.run_coroutine_threadsafe(publish(entry, totals, parts), loop).result()

    admin_server = http.serve_admin("subscriber", readiness, listeners.admin.socket, {"/v1/events": server.figures})
    swarm_consumer = SwarmConsumer(settings, kafka, readiness, publish_from_thread)
    presence = _Presence(settings, zookeeper, server, readiness, listeners)
    listener = listeners.public.socket
    async with await loop.create_server(lambda: Handshake(server), sock=listener, backlog=MAX_HANDSHAKES):
        sweeping = asyncio.create_task(server.sweep_forever())
        reading = run_in_thread("consumer", swarm_consumer.run)
        registering = asyncio.create_task(presence.keep())
        stopping = asyncio.create_task(stop.wait())
        log.info("subscriber listens", url=listeners.public.url, admin_url=listeners.admin.url)
        process.collect_garbage_rarely()
        # Each part runs until it is told to stop; one that ends before is broken, and its error ends the process.
        parts = (sweeping, reading, registering)
        await asyncio.wait((*parts, stopping), return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part.done():
                part.result()
        log.info("subscriber drains", viewers=server.viewers)
        readiness.not_met("drain", "the subscriber is leaving")
        registering.cancel()
        presence.withdraw()
        await server.drain()
        swarm_consumer.stop()
        # Neither Kafka nor ZooKeeper, should it be away, may hold up the end.
        await asyncio.wait((reading, run_in_thread("presence", presence.close)), timeout=_END_SECONDS)
        sweeping.cancel()
    admin_server.stop()
    log.info("subscriber ends")


class _Presence:
    """Registers the subscriber in ZooKeeper, where the registry finds it, once its history is filled."""

    CONDITION = "registration"

    def __init__(
        self,
        settings: SubscriberSettings,
        zookeeper: ZooKeeperSettings,
        server: Server,
        readiness: Readiness,
        listeners: Listeners,
    ) -> None:
        self._facts = {
            "url": listeners.public.url,
            "admin_url": listeners.admin.url,
            "capacity": settings.capacity,
        }
        self._server = server
        self._readiness = readiness
        self._client = new_client(zookeeper)
        path = f"/subscribers/{settings.cluster}/{settings.name or listeners.public.port}"
        self._registration = Registration(self._client, path, process_identity(listeners.public.address))
        self._follower = Follower(self._client, self._follow)
        self._newest = self._revision = 0
        self._hosts = ",".join(zookeeper.hosts)
        self._variable = settings.variable("name")

    def _follow(self, seen: Seen) -> None:
        self._loop.call_soon_threadsafe(self._take_table, seen)

    def _take_table(self, seen: Seen) -> None:
        self._server.definitions, self._newest = dict(seen.view.table), seen.revision

    def _applied_revision(self) -> int:
        """The newest table of which each open event has come to this subscriber by Kafka too."""
        is_open = (event for event, each in self._server.definitions.items() if each.state == "open")
        if all(event in self._server.channels for event in is_open):
            self._revision = self._newest
        return self._revision

    async def keep(self) -> None:
        """Register, and keep the number of clients up to date, until cancelled; ZooKeeper may come and go."""
        self._loop = asyncio.get_running_loop()
        self._client.start_async()
        self._follower.start()
        registered = None
        while True:
            if self._registration.holder:
                reason = f"its name is taken by {self._registration.holder}: choose another one with {self._variable}"
                self._readiness.not_met(self.CONDITION, reason)
            elif self._registration.was_made:
                self._readiness.met(self.CONDITION)
            elif registered is not None:
                self._readiness.not_met(self.CONDITION, f"no ZooKeeper of {self._hosts} has answered yet")
            if self._server.history.state is not None and consumer.CONDITION not in self._readiness.reasons():
                content = {**self._facts, "clients": self._server.viewers}
                content["events"] = self._applied_revision()
                if content != registered:
                    self._registration.update(content)
                    registered = content
            await asyncio.sleep(_REGISTRATION_SECONDS)

    def withdraw(self) -> None:
        """Let no more viewers be sent here; never waits."""
        self._registration.withdraw()

    def close(self) -> None:
        """End the session."""
        self._client.stop()
        self._client.close()


def _listen(settings: SubscriberSettings) -> Listener:
    """For viewers. Raises EmoStreamError where the address cannot be bound."""
    listener = listen_for_viewers(settings, backlog=MAX_HANDSHAKES)
    sockets.prepare(
        listener.socket,
        max_unread_bytes=settings.max_viewer_buffer_bytes,
        slow_viewer_timeout_ms=settings.slow_viewer_timeout_ms,
        vanished_viewer_timeout_ms=settings.vanished_viewer_timeout_ms,
    )
    return listener


def _listen_for_operators(settings: SubscriberSettings, public: Listener) -> Listener:
    """Raises EmoStreamError where the address cannot be bound."""
    return listen_for_operators(settings, settings.admin_port or public.port + _ADMIN_PORT_DISTANCE)
