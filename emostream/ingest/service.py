"""The ingest process: settings in, an API out, until SIGTERM drains it."""

import asyncio
import signal
import socket

import uvloop

from emostream.config import IngestSettings, KafkaSettings, ZooKeeperSettings
from emostream.ingest.app import create_app
from emostream.ingest.committer import Committer
from emostream.runtime import coordination, files, garbage, http, logs
from emostream.runtime.coordination import Announcement, process_identity
from emostream.runtime.http import Limits
from emostream.runtime.listener import address_of, listen
from emostream.runtime.readiness import Readiness

log = logs.get(__name__)


def run(settings: IngestSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises EmoStreamError where the address cannot be bound."""
    files.raise_limit(settings.variable("max_connections"), settings.max_connections)
    with listen(settings.host, settings.port) as listener:
        uvloop.run(_run(listener, settings, kafka, zookeeper))


async def _run(
    listener: socket.socket, settings: IngestSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings
) -> None:
    told_to_stop, drained = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    readiness = Readiness("kafka", "accepting")
    committer = Committer(settings, kafka, readiness)
    app = create_app(settings, readiness, committer.submit)
    limits = Limits(
        settings.max_body_bytes,
        settings.body_timeout_ms / 1000,
        settings.max_connections,
        settings.max_receiving_bytes,
    )
    address = address_of(listener)
    serving = asyncio.create_task(http.serve(app, listener, drained, limits))
    committer.start()
    presence = coordination.new_client(zookeeper)
    presence.start_async()
    announcement = Announcement(presence, f"/services/ingest/{address}", process_identity(address))
    announcement.update({"url": f"http://{address}", "leader": False})
    garbage.collect_rarely()
    log.info("serving", address=address)
    stopping = asyncio.create_task(told_to_stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await committer.drain()
    drained.set()
    await serving
    presence.stop()
    presence.close()
