"""The ingest process: settings in, an API out, until SIGTERM drains it."""

import asyncio
import signal
from collections.abc import Mapping

import uvloop

from emostream.config import IngestSettings, KafkaSettings, TokensSettings, ZooKeeperSettings
from emostream.events.labels import EventCounter
from emostream.events.steps import Seen
from emostream.events.store import Follower
from emostream.events.table import open_streams
from emostream.ingest import metrics
from emostream.ingest.app import create_app
from emostream.ingest.committer import Committer
from emostream.ingest.events import Events
from emostream.runtime import coordination, http, logs, process
from emostream.runtime.coordination import Registration, process_identity
from emostream.runtime.http import Limits
from emostream.runtime.listener import Listener, listen_for_operators, listen_for_viewers
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import Gate

log = logs.get(__name__)

_REGISTRATION_SECONDS = 0.1


def run(settings: IngestSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings, tokens: TokensSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises EmoStreamError if the address cannot be bound, or tokens have no key."""
    gate = Gate(tokens)
    process.raise_file_limit(settings.variable("max_connections"), settings.max_connections, http.MAX_ADMIN_CONNECTIONS)
    with listen_for_viewers(settings) as listener, listen_for_operators(settings) as admin:
        uvloop.run(_run(listener, admin, settings, kafka, zookeeper, gate))


async def _run(  # noqa: PLR0913, PLR0917 - a parameter for each part
    listener: Listener,
    admin: Listener,
    settings: IngestSettings,
    kafka: KafkaSettings,
    zookeeper: ZooKeeperSettings,
    gate: Gate,
) -> None:
    told_to_stop, drained = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    readiness = Readiness("kafka", "accepting")
    accepted = EventCounter(metrics.reactions_accepted, settings.max_event_labels)
    committer = Committer(listener.name, settings, kafka, readiness, accepted)
    events = Events()
    app = create_app(settings, readiness, committer.submit, events, gate)
    limits = Limits(
        settings.max_body_bytes,
        settings.body_timeout_ms / 1000,
        settings.max_connections,
        settings.max_receiving_bytes,
    )
    serving = asyncio.create_task(http.serve(app, listener.socket, drained, limits))
    admin_server = http.serve_admin("ingest", readiness, admin.socket)
    committer.start()
    presence = coordination.new_client(zookeeper)
    presence.start_async()
    identity = process_identity(listener.address)
    registration = Registration(presence, f"/services/ingest/{listener.name}", identity)
    loop = asyncio.get_running_loop()

    def follow(seen: Seen) -> None:
        events.follow(seen)
        accepted.follow(open_streams(seen.view.table))

    follower = Follower(presence, lambda seen: loop.call_soon_threadsafe(follow, seen))
    facts = {"url": listener.url, "admin_url": admin.url, "leader": False}
    registering = asyncio.create_task(_keep_registered(registration, follower, events, committer, facts))
    process.collect_garbage_rarely()
    log.info("serving", url=listener.url, admin_url=admin.url)
    stopping = asyncio.create_task(told_to_stop.wait())
    await asyncio.wait({serving, stopping, registering}, return_when=asyncio.FIRST_COMPLETED)
    if registering.done():
        registering.result()
    if not serving.done():
        await committer.drain()
    drained.set()
    await serving
    registering.cancel()
    admin_server.stop()
    presence.stop()
    presence.close()


async def _keep_registered(
    registration: Registration, follower: Follower, events: Events, committer: Committer, facts: Mapping[str, object]
) -> None:
    """Tell in the registration which table of events is followed, and which closing events are confirmed."""
    told = None
    while True:
        if registration.was_made:
            follower.start()
        content = {**facts, "events": events.revision, "closed": events.confirmed(committer.is_in_flight)}
        if content != told:
            registration.update(content)
            told = content
        await asyncio.sleep(_REGISTRATION_SECONDS)
