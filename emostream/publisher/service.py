"""A publisher's life: it stands by until elected, relays while it leads, and begins again after any trouble."""

import asyncio
import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from kazoo.client import KazooState

from emostream import model
from emostream.config import KafkaSettings, PublisherSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.publisher import metrics
from emostream.publisher.relay import Decision, Relay, SourcePosition, source_position_of
from emostream.runtime import http, logs
from emostream.runtime.background import run_in_thread
from emostream.runtime.coordination import Election, Registration, connect, process_identity
from emostream.runtime.kafka import abandoned_at_end, durable_producer, last_record, log_reader
from emostream.runtime.listener import Listener, listen_for_operators
from emostream.runtime.readiness import Readiness

log = logs.get(__name__)

# Swarms sent and not acknowledged yet; past it reading waits, so the rest stays in `swarms`.
MAX_IN_FLIGHT = 64

_POLL_MS = 200
_PROBE_SECONDS = 2.0
_PROBE_TIMEOUT_MS = 3_000
_ACKNOWLEDGEMENT_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_THREAD_END_SECONDS = 3.0

_SWARMS = TopicPartition(model.SWARMS_TOPIC, 0)
_OFFSET_HEADER = "swarms-offset"
_TIMESTAMP_HEADER = "swarms-timestamp"


def run(settings: PublisherSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings) -> None:
    """Relay, or stand by, until SIGTERM or SIGINT. Raises EmoStreamError where it cannot start."""
    with listen_for_operators(settings) as listener:
        uvloop.run(_serve(listener, settings, kafka, zookeeper))


async def _serve(
    listener: Listener, settings: PublisherSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    readiness = Readiness("election", "relay")
    publisher = Publisher(listener, settings, kafka, zookeeper, readiness)
    publishing = run_in_thread("publisher", publisher.run)
    publishing.add_done_callback(lambda _: stop.set())
    try:
        await http.serve(http.create_admin_app("publisher", readiness), listener.socket, stop)
    finally:
        publisher.stop()
        # A broker that is away may hold it up; nothing is lost by not waiting for it.
        await asyncio.wait((publishing,), timeout=_THREAD_END_SECONDS)
    if publishing.done():
        publishing.result()
    log.info("publisher ends")


class Publisher:
    """Contends for the cluster's election, and relays in each term that it wins. It is known by its listener."""

    def __init__(
        self,
        listener: Listener,
        settings: PublisherSettings,
        kafka: KafkaSettings,
        zookeeper: ZooKeeperSettings,
        readiness: Readiness,
    ) -> None:
        self._url, self._name = listener.url, listener.name
        self._identity = process_identity(listener.address)
        self._settings = settings
        self._kafka = kafka
        self._zookeeper = zookeeper
        self._readiness = readiness
        self._stop = threading.Event()

    def stop(self) -> None:
        """Relay no more; `run` returns as soon as Kafka and ZooKeeper let it."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped. Raises EmoStreamError when no ZooKeeper answers at first."""
        client = connect(self._zookeeper)
        try:
            cluster = self._settings.cluster
            self._election = Election(client, f"/elections/publisher/{cluster}", self._identity)
            self._presence = Registration(client, f"/services/publisher/{cluster}@{self._name}", self._identity)
            client.add_listener(self._on_state)
            self._on_state(client.state)
            self._register(is_leader=False)
            # Nothing is due to be relayed by one that stands by, whatever trouble it had when it led.
            while self._election.win(self._stop, on_waiting=lambda: self._readiness.met("relay")):
                self._register(is_leader=True)
                self._lead()
                self._register(is_leader=False)
            self._presence.withdraw()
        finally:
            client.stop()
            client.close()

    def _lead(self) -> None:
        """One term. It ends by a lost session, or by trouble, which another publisher may not have."""
        log.info("elected")
        metrics.LEADER.set(1)
        metrics.TERMS.inc()
        self._readiness.met("election")
        self._readiness.not_met("relay", f"the end of {self._settings.cluster} is being read")
        is_troubled = False
        try:
            Term(self._settings, self._kafka, self._readiness, self._may_continue).run()
        except (KafkaError, EmoStreamError) as error:
            is_troubled = True
            self._readiness.not_met("relay", f"{self._settings.cluster} gets no swarms: {error}")
        finally:
            metrics.LEADER.set(0)
            self._election.resign()
        log.info("term ended")
        if is_troubled:
            self._stop.wait(_RETRY_SECONDS)
        else:
            self._readiness.met("relay")

    def _may_continue(self) -> bool:
        return self._election.is_leader and not self._stop.is_set()

    def _register(self, *, is_leader: bool) -> None:
        self._presence.update({"url": self._url, "admin_url": self._url, "leader": is_leader})

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._readiness.met("election")
        elif not self._election.is_leader:
            hosts = ",".join(self._zookeeper.hosts)
            self._readiness.not_met("election", f"no ZooKeeper of {hosts} answers, so no publisher can be elected")


class Term:
    """Relays from where the cluster's topic ends, as long as `may_go_on`."""

    def __init__(
        self,
        settings: PublisherSettings,
        kafka: KafkaSettings,
        readiness: Readiness,
        may_go_on: Callable[[], bool],
    ) -> None:
        self._kafka = kafka
        self._brokers = settings.bootstrap_servers or kafka.bootstrap_servers
        self._cluster = TopicPartition(settings.cluster, 0)
        self._readiness = readiness
        self._may_continue = may_go_on
        # The oldest first; bounded by MAX_IN_FLIGHT, past which `_send` waits.
        self._in_flight: deque[tuple[Any, float]] = deque()
        self._is_answered = False

    def run(self) -> None:
        """Raises KafkaError or EmoStreamError when it cannot go on."""
        relay = Relay(self._read_back())
        # What is not acknowledged by then is given up: another publisher may lead, and it reads back what is there.
        producer = durable_producer(self._kafka, self._brokers)
        try:
            with (
                abandoned_at_end(producer, _THREAD_END_SECONDS / 2),
                log_reader(self._kafka.bootstrap_servers, self._kafka.max_record_bytes) as reader,
            ):
                self._relay_all(relay, reader, producer)
        finally:
            metrics.IN_FLIGHT.set(0)

    def _read_back(self) -> SourcePosition | None:
        with log_reader(self._brokers, self._kafka.max_record_bytes) as reader:
            record = last_record(reader, self._cluster)
        if record is None:
            return None
        try:
            last = source_position_of(model.decode_swarm(record.value), int(dict(record.headers)[_OFFSET_HEADER]))
        except (KeyError, TypeError, ValueError, msgspec.DecodeError) as error:
            raise EmoStreamError(
                f"the last record of {self._cluster.topic}, at offset {record.offset}, is not a publisher's: another "
                "program writes to this topic; stop it, delete the topic, and apply it again."
            ) from error
        log.info("read back", stream=last.stream, sequence=last.sequence, swarms_offset=last.offset)
        metrics.SEQUENCE.set(last.sequence)
        return last

    def _relay_all(self, relay: Relay, reader: KafkaConsumer, producer: KafkaProducer) -> None:
        reader.assign([_SWARMS])
        _seek(reader, relay)
        probe_at = 0.0
        while self._may_continue():
            try:
                records = reader.poll(timeout_ms=_POLL_MS).get(_SWARMS, [])
            except OffsetOutOfRangeError:
                log.warning("swarms no longer holds the next record: continuing from its beginning")
                relay.start_over()
                _seek(reader, relay)
                continue
            self._is_answered = self._is_answered or bool(records)
            if not self._relay_batch(relay, records, producer):
                log.warning("swarms was recreated: continuing from its beginning")
                _seek(reader, relay)
            self._settle()
            if time.monotonic() >= probe_at:
                self._is_answered = self._probe(reader)
                probe_at = time.monotonic() + _PROBE_SECONDS
            self._report_readiness()

    def _relay_batch(self, relay: Relay, records: list[Any], producer: KafkaProducer) -> bool:
        """False when reading must start over."""
        for record in records:
            try:
                position = source_position_of(model.decode_swarm(record.value or b""), record.offset)
            except (msgspec.DecodeError, ValueError) as error:
                metrics.UNREADABLE.inc()
                log.error("a record of swarms is not a swarm and is skipped", offset=record.offset, error=repr(error))
                continue
            decision = relay.take(position)
            if decision is Decision.START_OVER:
                return False
            if decision is Decision.SKIP:
                metrics.REPEATS.inc()
                continue
            _count(decision, position)
            self._wait_for_room()
            if not self._may_continue():
                break
            self._send(record, position, producer)
        return True

    def _send(self, record: Any, position: SourcePosition, producer: KafkaProducer) -> None:
        headers = [
            (_OFFSET_HEADER, str(record.offset).encode()),
            (_TIMESTAMP_HEADER, str(record.timestamp).encode()),
        ]
        future = producer.send(self._cluster.topic, record.value, headers=headers, partition=self._cluster.partition)
        future.add_callback(_acknowledged, position.sequence, record.timestamp)
        self._in_flight.append((future, time.monotonic()))

    def _wait_for_room(self) -> None:
        self._settle()
        while len(self._in_flight) >= MAX_IN_FLIGHT and self._may_continue():
            self._report_readiness()
            with contextlib.suppress(KafkaTimeoutError):
                self._in_flight[0][0].get(_POLL_MS / 1_000)
            self._settle()

    def _settle(self) -> None:
        """Let go of what is acknowledged. Raises the error of what was refused: the term ends, and reads back."""
        while self._in_flight and self._in_flight[0][0].is_done:
            future, _ = self._in_flight.popleft()
            if future.failed():
                raise future.exception
        metrics.IN_FLIGHT.set(len(self._in_flight))

    def _probe(self, reader: KafkaConsumer) -> bool:
        """Whether the brokers of `swarms` answer: poll() does not tell an idle topic from an absent broker."""
        try:
            end = reader.end_offsets([_SWARMS], timeout_ms=_PROBE_TIMEOUT_MS)[_SWARMS]
        except KafkaError:
            return False
        metrics.LAG.set(max(0, end - reader.position(_SWARMS)))
        return True

    def _report_readiness(self) -> None:
        if not self._is_answered:
            brokers = ",".join(self._kafka.bootstrap_servers)
            self._readiness.not_met("relay", f"swarms cannot be read: no broker of {brokers} answers")
        elif self._in_flight and time.monotonic() - self._in_flight[0][1] > _ACKNOWLEDGEMENT_SECONDS:
            brokers = ",".join(self._brokers)
            self._readiness.not_met("relay", f"{self._cluster.topic} takes no swarms: {brokers} do not acknowledge")
        else:
            self._readiness.met("relay")


def _seek(reader: KafkaConsumer, relay: Relay) -> None:
    if relay.start_offset is None:
        reader.seek_to_beginning(_SWARMS)
    else:
        reader.seek(_SWARMS, relay.start_offset)


def _count(decision: Decision, position: SourcePosition) -> None:
    if decision is Decision.RELAY_AFTER_GAP:
        metrics.GAPS.inc()
        log.warning("swarms are missing before this one", sequence=position.sequence)
    elif decision is Decision.RELAY_NEW_STREAM:
        metrics.NEW_STREAMS.inc()
        log.info("a new stream begins", stream=position.stream, sequence=position.sequence)


def _acknowledged(sequence: int, swarms_timestamp_ms: int, _: object) -> None:
    metrics.RELAYED.inc()
    metrics.SEQUENCE.set(sequence)
    metrics.LATENCY.observe(max(0.0, time.time() - swarms_timestamp_ms / 1_000))
