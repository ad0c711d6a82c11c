"""The canary's life: it opens an event that nobody is told of, watches it in each cluster, and reacts to it."""

import asyncio
import itertools
import random
import signal
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from emostream import model, palette
from emostream.canary import metrics
from emostream.canary.sights import Sights
from emostream.client.errors import StreamLostError
from emostream.client.outcome import Accepted, Refused
from emostream.client.reactions import ReactionSender
from emostream.client.streams import SseStream
from emostream.client.token import newest
from emostream.client.viewer import watch
from emostream.config import CanarySettings, ClientSettings, ClustersSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.operate import events, status
from emostream.runtime import http, logs
from emostream.runtime.background import run_in_thread
from emostream.runtime.listener import Listener, listen_for_operators
from emostream.runtime.readiness import Readiness
from emostream.tokens.own import OwnTokens

log = logs.get(__name__)

_USER = "canary"
_EVENT = "event"
_RETRY_SECONDS = 1.0
_OPENING_SECONDS = 30.0


@dataclass(frozen=True)
class Surroundings:
    """Where the canary finds what it watches."""

    client: ClientSettings
    clusters: ClustersSettings
    kafka: KafkaSettings
    zookeeper: ZooKeeperSettings


def run(settings: CanarySettings, surroundings: Surroundings) -> None:
    """React and watch until SIGTERM or SIGINT. Raises EmoStreamError where the address cannot be bound."""
    with listen_for_operators(settings) as listener:
        uvloop.run(_serve(listener, settings, surroundings))


async def _serve(listener: Listener, settings: CanarySettings, surroundings: Surroundings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    canary = _Canary(settings, surroundings)
    tasks = [asyncio.create_task(work) for work in canary.works()]
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    log.info("canary begins", reacts_to=settings.event, admin_url=listener.url)
    await http.serve(http.create_admin_app("canary", canary.readiness), listener.socket, stop)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Canary:
    def __init__(self, settings: CanarySettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._clusters = surroundings.clusters.names
        self._tokens = OwnTokens.load()
        self._sights = Sights(self._clusters, settings.timeout_ms / 1_000)
        self.readiness = Readiness(_EVENT, *self._clusters)
        # PromQL counts no increase of a series that begins with it.
        for cluster in self._clusters:
            metrics.UNSEEN.labels(cluster)

    def works(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What runs side by side until it is cancelled."""
        yield self._react_forever()
        yield from (self._watch_forever(cluster) for cluster in self._clusters)

    async def _react_forever(self) -> None:
        await run_in_thread("event", self._open)
        ingest_url, token = self._surroundings.client.ingest_url, self._tokens.source(_USER, "react")
        async with ReactionSender(ingest_url, event=self._settings.event, token=token) as sender:
            for emoji in itertools.cycle(palette.DEFAULT):
                await self._react(sender, emoji)
                await asyncio.sleep(self._settings.interval_ms / 1_000)

    def _open(self) -> None:
        """Return when the event is open. The canary opens it itself if it may."""
        zookeeper, kafka = self._surroundings.zookeeper, self._surroundings.kafka
        while True:
            try:
                with events.operator(zookeeper, kafka, _OPENING_SECONDS) as operator:
                    known = operator.table().get(self._settings.event)
                    # On hosts an operator has opened it, which a canary may not.
                    if known is None or known.state != "open":
                        operator.open(self._settings.event, events.EventOptions("Canary", ("default",), listed=False))
            except EmoStreamError as error:
                self.readiness.not_met(_EVENT, str(error))
                time.sleep(_RETRY_SECONDS)
            else:
                return self.readiness.met(_EVENT)

    async def _react(self, sender: ReactionSender, emoji: str) -> None:
        for cluster in self._sights.overdue(time.monotonic()):
            log.warning("a reaction was not seen in time", cluster=cluster)
            metrics.UNSEEN.labels(cluster).inc()
            metrics.SEEN.labels(cluster).observe(self._settings.timeout_ms / 1_000)
        self._sights.sent(emoji, time.monotonic())
        outcome = await sender.send([model.Reaction(_USER, emoji, time.time_ns() // 1_000_000)])
        if isinstance(outcome, Accepted):
            metrics.REACTIONS.labels("accepted").inc()
            return
        self._sights.not_taken(emoji)
        metrics.REACTIONS.labels("refused" if isinstance(outcome, Refused) else "unknown").inc()
        log.warning("ingest did not accept a reaction", reason=outcome.reason)

    async def _watch_forever(self, cluster: str) -> None:
        """Watch at one subscriber of the cluster after the other, each from where the last one ended."""
        last_id: str | None = None

        def take(message: model.ViewerMessage) -> None:
            nonlocal last_id
            if not isinstance(message, model.Goodbye):
                last_id = message.id
            if isinstance(message, model.Swarm):
                for seconds in self._sights.seen(cluster, message.counts, time.monotonic()):
                    metrics.SEEN.labels(cluster).observe(seconds)

        while True:
            try:
                url = await self._subscriber_of(cluster)
                token = await newest(self._tokens.source(_USER, "watch"))
                stream = SseStream(f"{url}{model.event_path(self._settings.event)}/stream", last_id, token=token)
                await watch(url, stream, take, lambda: self.readiness.met(cluster))
            except (EmoStreamError, StreamLostError) as error:
                self.readiness.not_met(cluster, str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _subscriber_of(self, cluster: str) -> str:
        """The URL of any subscriber of the cluster. Raises EmoStreamError if there is none."""
        view = await status.fetch(self._surroundings.client.registry_url)
        urls = [subscriber.url for subscriber in view.subscribers if subscriber.cluster == cluster]
        if not urls:
            raise EmoStreamError(f"the registry knows no subscriber of {cluster}")
        return random.choice(urls)  # noqa: S311 - no secret
