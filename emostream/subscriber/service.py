"""A subscriber's life: it listens, fills its history, is announced, serves, and drains when it is told to stop."""

import asyncio
import signal
import socket

import uvloop

from emostream import model
from emostream.config import KafkaSettings, SubscriberSettings, ZooKeeperSettings
from emostream.runtime import files, garbage, logs
from emostream.runtime.background import run_in_thread
from emostream.runtime.coordination import Announcement, new_client, process_identity
from emostream.runtime.listener import address_of, listen
from emostream.runtime.readiness import Readiness
from emostream.subscriber import feed, sockets
from emostream.subscriber.connection import Handshake
from emostream.subscriber.feed import Feed
from emostream.subscriber.history import Entry
from emostream.subscriber.server import MAX_HANDSHAKES, Server

log = logs.get(__name__)

_ANNOUNCEMENT_SECONDS = 1.0
_END_SECONDS = 2.0


def run(settings: SubscriberSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises EmoStreamError where it cannot start."""
    files.raise_limit(settings.variable("capacity"), settings.capacity, MAX_HANDSHAKES)
    with _listen(settings) as listener:
        uvloop.run(_serve(listener, settings, kafka, zookeeper))


async def _serve(
    listener: socket.socket, settings: SubscriberSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    readiness = Readiness(feed.CONDITION, _Presence.CONDITION, "drain")
    readiness.met("drain")
    server = Server(settings, readiness)

    async def publish(entry: Entry, totals: model.Counts) -> None:
        server.publish(entry, totals)

    def publish_from_thread(entry: Entry, totals: model.Counts) -> None:
        asyncio.run_coroutine_threadsafe(publish(entry, totals), loop).result()

    topic_feed = Feed(settings, kafka, readiness, publish_from_thread)
    presence = _Presence(settings, zookeeper, server, readiness, address_of(listener))
    async with await loop.create_server(lambda: Handshake(server), sock=listener, backlog=MAX_HANDSHAKES):
        sweeping = asyncio.create_task(server.sweep_forever())
        reading = run_in_thread("feed", topic_feed.run)
        announcing = asyncio.create_task(presence.keep())
        stopping = asyncio.create_task(stop.wait())
        log.info("subscriber listens", address=address_of(listener), url=presence.url)
        garbage.collect_rarely()
        # Each part runs until it is told to stop; one that ends before is broken, and its error ends the process.
        parts = (sweeping, reading, announcing)
        await asyncio.wait((*parts, stopping), return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part.done():
                part.result()
        log.info("subscriber drains", viewers=len(server.audience))
        readiness.not_met("drain", "the subscriber is leaving")
        announcing.cancel()
        presence.withdraw()
        await server.drain()
        topic_feed.stop()
        # Neither Kafka nor ZooKeeper, should it be away, may hold up the end.
        await asyncio.wait((reading, run_in_thread("presence", presence.close)), timeout=_END_SECONDS)
        sweeping.cancel()
    log.info("subscriber ends")


class _Presence:
    """Announces the subscriber in ZooKeeper, where the registry finds it: first when its history is filled."""

    CONDITION = "announcement"

    def __init__(
        self,
        settings: SubscriberSettings,
        zookeeper: ZooKeeperSettings,
        server: Server,
        readiness: Readiness,
        address: str,
    ) -> None:
        self.url = settings.advertised_url or f"http://{address}"
        self._capacity = settings.capacity
        self._server = server
        self._readiness = readiness
        self._client = new_client(zookeeper)
        name = settings.name or address.rpartition(":")[2]
        path = f"/subscribers/{settings.cluster}/{name}"
        self._announcement = Announcement(self._client, path, process_identity(address))
        self._hosts = ",".join(zookeeper.hosts)
        self._variable = settings.variable("name")

    async def keep(self) -> None:
        """Announce, and keep the number of clients up to date, until cancelled; ZooKeeper may come and go."""
        self._client.start_async()
        announced = None
        while True:
            if self._announcement.holder:
                reason = f"its name is taken by {self._announcement.holder}: choose another one by {self._variable}"
                self._readiness.not_met(self.CONDITION, reason)
            elif self._announcement.was_made:
                self._readiness.met(self.CONDITION)
            elif announced is not None:
                self._readiness.not_met(self.CONDITION, f"no ZooKeeper of {self._hosts} has answered yet")
            if self._server.history.state is not None and feed.CONDITION not in self._readiness.reasons():
                content = {
                    "url": self.url,
                    "capacity": self._capacity,
                    "clients": len(self._server.audience),
                    "draining": False,
                }
                if content != announced:
                    self._announcement.update(content)
                    announced = content
            await asyncio.sleep(_ANNOUNCEMENT_SECONDS)

    def withdraw(self) -> None:
        """Let no more viewers be sent here; never waits."""
        self._announcement.withdraw()

    def close(self) -> None:
        """End the session."""
        self._client.stop()
        self._client.close()


def _listen(settings: SubscriberSettings) -> socket.socket:
    """The listening socket. Raises EmoStreamError where the address cannot be bound."""
    variables = f"{settings.variable('host')}, {settings.variable('port')}"
    listener = listen(settings.host, settings.port, backlog=MAX_HANDSHAKES, variables=variables)
    sockets.prepare(
        listener,
        max_unread_bytes=settings.max_viewer_buffer_bytes,
        slow_viewer_timeout_ms=settings.slow_viewer_timeout_ms,
        vanished_viewer_timeout_ms=settings.vanished_viewer_timeout_ms,
    )
    return listener
