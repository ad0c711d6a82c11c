"""Group commit on Kafka: a request waits until its record is acknowledged by all in-sync replicas.

Everything runs on the event loop's thread but the producer's own; its callbacks come back by call_soon_threadsafe, one
for each record and not for each request.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from emostream.config import IngestSettings, KafkaSettings
from emostream.errors import EmoStreamError
from emostream.events.labels import EventCounter
from emostream.ingest import metrics
from emostream.ingest.groups import Group, Groups, NoRoomError
from emostream.ingest.validation import Batch
from emostream.model import REACTIONS_TOPIC, Record
from emostream.runtime import logs
from emostream.runtime.background import run_in_thread
from emostream.runtime.kafka import abandon, durable_producer, log_reader
from emostream.runtime.readiness import Readiness

log = logs.get(__name__)

_RECONNECT_SECONDS = 1.0
_WATCH_SECONDS = 0.5
_METADATA_TIMEOUT_MS = 1_000
# While nothing is sent, Kafka is asked instead whether it answers, for so long.
_ANSWER_TIMEOUT_MS = 2_000
# At the end: how long the producer may take to close, when all that it sent has an outcome or was given up.
_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """Nothing of the request is in Kafka, nor will be."""

    reason: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The record may be in Kafka, or get there yet."""

    reason: str


Outcome = Record | NotAccepted | OutcomeUnknown
"""The record that holds the request's reactions, or why there may be none."""
Waiter = asyncio.Future[Outcome]


@dataclass(eq=False, slots=True)
class _Flight:
    """A group on its way: since when, and what ends the patience of its requests."""

    sent_at: float
    deadline: asyncio.TimerHandle


class Committer:
    """Takes requests, sends them in groups, and tells each its outcome. Use it on one event loop only."""

    def __init__(
        self, name: str, settings: IngestSettings, kafka: KafkaSettings, readiness: Readiness, accepted: EventCounter
    ) -> None:
        """`name` is the `host:port` of this process; `accepted` counts the reactions that Kafka has acknowledged."""
        self._name = name
        self._settings = settings
        self._accepted = accepted
        self._kafka = kafka
        self._readiness = readiness
        self._groups: Groups[Waiter] = Groups(
            settings.max_group_bytes, settings.max_requests_in_flight, settings.max_bytes_in_flight
        )
        self._flights: dict[Group[Waiter], _Flight] = {}
        self._producer: Any = None
        self._reader: Any = None
        self._partitions: list[TopicPartition] = []
        self._refusal: str | None = None
        servers = ",".join(kafka.bootstrap_servers)
        self._refuse("Kafka has not been reached yet.", f"no broker of {servers} has answered yet")
        self._draining = False
        self._landed = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to connect; until then every request is refused."""
        self._tasks = [asyncio.create_task(self._connect()), asyncio.create_task(self._watch())]

    def _refuse(self, refusal: str, reason: str) -> None:
        """Refuse every request from now on; /readyz tells the reason at once."""
        self._refusal = refusal
        self._readiness.not_met("kafka", reason)

    def submit(self, batch: Batch, request: str) -> Waiter | NotAccepted:
        """Take a request with its id, or refuse it at once; the future is done with its outcome in the deadline."""
        if self._refusal is not None:
            return NotAccepted(self._refusal)
        if self._is_overdue():
            return NotAccepted("Kafka does not acknowledge earlier reactions.")
        waiter: Waiter = self._loop.create_future()
        try:
            closed = self._groups.add(request, batch.counts, batch.payload, waiter, batch.event)
        except NoRoomError:
            return NotAccepted("Too many reactions are waiting for Kafka.")
        for group in closed:
            self._send(group)
        if self._groups.has_open and self._linger is None:
            self._linger = self._loop.call_later(self._settings.linger_ms / 1000, self._linger_is_over)
        return waiter

    def is_in_flight(self, event: str) -> bool:
        """Whether a reaction to this event, which is not `main`, waits for Kafka."""
        return self._groups.is_waiting(event) or any(event in group.event_counts for group in self._flights)

    async def drain(self) -> None:
        """Refuse what is new, and wait until what is in flight is acknowledged or `drain_timeout_ms` are over."""
        self._draining = True
        self._refusal = "This server is stopping; send it again."
        for task in self._tasks:
            task.cancel()
        self._readiness.not_met("accepting", "draining: this server is stopping")
        self._linger_is_over()
        try:
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1000):
                while self._flights:
                    self._landed.clear()
                    await self._landed.wait()
        except TimeoutError:
            log.error("stopped with unacknowledged records", records=len(self._flights))
        for group in self._flights:
            self._tell(group, OutcomeUnknown("This server stopped before Kafka acknowledged; it may still arrive."))
        if self._producer is not None:
            closing = run_in_thread("close", partial(abandon, self._producer, _CLOSE_SECONDS))
            await asyncio.wait((closing,), timeout=2 * _CLOSE_SECONDS)

    def _linger_is_over(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        group = self._groups.close()
        if group is not None:
            self._send(group)

    def _send(self, group: Group[Waiter]) -> None:
        deadline = self._loop.call_later(self._settings.deadline_ms / 1000, self._give_up_waiting, group)
        self._flights[group] = _Flight(self._loop.time(), deadline)
        metrics.group_requests.observe(len(group.waiters))
        producer = self._producer
        if producer is None:
            self._resolve(group, NotAccepted("Kafka was lost before the record was sent."))
            return
        try:
            future = producer.send(REACTIONS_TOPIC, group.record(), headers=group.headers(self._name))
        except KafkaError as error:
            self._resolve(group, NotAccepted(f"Kafka did not take the record: {error}"))
            self._replace(producer, error)
            return
        except Exception as error:
            # A fault of the client's: it may have taken the record before.
            self._failed(group, producer, error)
            return
        future.add_callback(lambda metadata: self._call_back(self._acknowledged, group, metadata))
        future.add_errback(lambda error: self._call_back(self._failed, group, producer, error))

    def _call_back(self, function: Any, *arguments: Any) -> None:
        """From the producer's thread to the loop's; after the loop has ended nobody waits any more."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _acknowledged(self, group: Group[Waiter], metadata: Any) -> None:
        flight = self._flights[group]
        metrics.commit_seconds.observe(self._loop.time() - flight.sent_at)
        for event, reactions in group.reactions.items():
            self._accepted.inc(event, reactions)
        if logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
            log.debug("record written", partition=metadata.partition, offset=metadata.offset, requests=group.requests)
        self._resolve(group, Record(metadata.partition, metadata.offset, metadata.timestamp))

    def _failed(self, group: Group[Waiter], producer: Any, error: BaseException) -> None:
        log.error("record failed", error=repr(error), requests=group.requests, size_bytes=group.size_bytes)
        # Never "not accepted": once one record is refused for good (as too large, say) the producer fails all others in
        # flight with that same error, those too that the broker has written.
        self._resolve(group, OutcomeUnknown(f"Kafka's acknowledgement failed: {error}"))
        self._replace(producer, error)

    def _give_up_waiting(self, group: Group[Waiter]) -> None:
        """The requests' time is over, the record's is not: it stays in flight, and counted, until it is resolved."""
        seconds = self._settings.deadline_ms / 1000
        self._tell(group, OutcomeUnknown(f"Kafka did not acknowledge in {seconds:g} s; it may still arrive."))

    def _resolve(self, group: Group[Waiter], outcome: Outcome) -> None:
        self._flights.pop(group).deadline.cancel()
        self._groups.resolve(group)
        self._landed.set()
        self._tell(group, outcome)

    def _tell(self, group: Group[Waiter], outcome: Outcome) -> None:
        for waiter in group.waiters:
            # Done already where its deadline has passed, cancelled where its client is gone.
            if not waiter.done():
                waiter.set_result(outcome)

    def _replace(self, producer: Any, error: BaseException) -> None:
        """After one failed record every later send of a producer may hang or fail: give it up for a new one."""
        if producer is not self._producer or self._draining:
            return
        log.warning("replacing the producer", error=repr(error))
        metrics.producers_replaced.inc()
        self._producer = None
        self._refuse("The server is reconnecting to Kafka.", f"Reconnecting to Kafka, because a record failed: {error}")
        # What else it has in flight may still be acknowledged, for as long as its requests wait.
        run_in_thread("close", partial(abandon, producer, self._settings.deadline_ms / 1000))
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._connect()))

    async def _connect(self) -> None:
        while True:
            try:
                # In a thread that the process's end does not wait for: it may take half a minute.
                await run_in_thread("connect", self._make_producer)
            except Exception as error:
                if not isinstance(error, EmoStreamError):
                    log.error("connecting to Kafka failed unexpectedly", exc_info=error)
                self._refuse("Kafka does not answer.", str(error) or repr(error))
                await asyncio.sleep(_RECONNECT_SECONDS)
            else:
                self._refusal = None
                self._readiness.met("kafka")
                return

    def _make_producer(self) -> None:
        if self._reader is None:
            self._reader = log_reader(self._kafka.bootstrap_servers, self._kafka.max_record_bytes)
        # send() waits only for metadata, up to max_block_ms, and would stop the loop: it is had beforehand.
        producer = durable_producer(self._kafka, max_block_ms=_METADATA_TIMEOUT_MS)
        try:
            numbers = producer.partitions_for(REACTIONS_TOPIC)
        except KafkaError as error:
            abandon(producer, 0)
            raise EmoStreamError(
                f"Kafka does not describe the topic {REACTIONS_TOPIC} ({error}): make it with `emostream topics apply`."
            ) from error
        self._partitions = [TopicPartition(REACTIONS_TOPIC, number) for number in numbers]
        self._producer = producer

    def _is_overdue(self) -> bool:
        """Whether a record waits for longer than a request may: Kafka is away, and a new request would wait in vain."""
        oldest = next(iter(self._flights.values()), None)
        return oldest is not None and self._loop.time() - oldest.sent_at > self._settings.deadline_ms / 1000

    async def _watch(self) -> None:
        """Tell whether Kafka acknowledges and whether there is room, and keep the gauges."""
        while True:
            try:
                await self._check_kafka()
            except Exception as error:
                log.error("checking Kafka failed unexpectedly", exc_info=error)
                self._readiness.not_met("kafka", f"checking Kafka failed: {error!r}")
            if self._groups.is_full:
                self._readiness.not_met("accepting", "too many reactions are waiting for Kafka")
            else:
                self._readiness.met("accepting")
            metrics.requests_in_flight.set(self._groups.requests_in_flight)
            metrics.bytes_in_flight.set(self._groups.bytes_in_flight)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _check_kafka(self) -> None:
        """What is in flight tells by its age; where nothing is, Kafka is asked."""
        if self._is_overdue():
            seconds = self._settings.deadline_ms / 1000
            self._readiness.not_met("kafka", f"a record waits for {seconds:g} s or longer; is kafka.service active?")
        elif self._producer is not None:
            try:
                if not self._flights:
                    await run_in_thread("ask", self._ask)
            except EmoStreamError as error:
                self._readiness.not_met("kafka", str(error))
            else:
                # Requests may be refused since this was asked.
                if self._refusal is None:
                    self._readiness.met("kafka")

    def _ask(self) -> None:
        """Ask for the ends of `reactions`, which only the leader of each partition knows."""
        try:
            self._reader.end_offsets(self._partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
        except KafkaError as error:
            raise EmoStreamError(f"Kafka does not answer ({error}); is kafka.service active?") from error
