"""Follows `reactions` and `swarms` side by side, and publishes what the ledger finds as metrics."""

import contextlib
import threading

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from emostream.audit import metrics
from emostream.audit.ledger import Ledger, counts_of
from emostream.config import AuditSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.model import REACTIONS_TOPIC, SWARMS_TOPIC, decode_swarm
from emostream.runtime import http, logs
from emostream.runtime.coordination import Registration, new_client, process_identity
from emostream.runtime.kafka import last_record, log_reader
from emostream.runtime.listener import listen_for_operators
from emostream.runtime.process import StoppedError, StopSignals
from emostream.runtime.readiness import Readiness

log = logs.get(__name__)

_SWARMS = TopicPartition(SWARMS_TOPIC, 0)
_POLL_MS = 200
# So the broker answers when so long is over, with all that has come, and not for each record.
_AT_LEISURE = {"fetch_min_bytes": 1 << 20, "fetch_max_wait_ms": _POLL_MS}
# Past this many records that wait for their swarm, reading `reactions` pauses until the aggregator has caught up.
_MAX_WAITING = 20_000
_LOOK_FOR_PARTITIONS_POLLS = 25


def run(settings: AuditSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings) -> None:
    """Audit until SIGTERM or SIGINT. Raises EmoStreamError where the past that is to be checked is gone."""
    stop = StopSignals()
    readiness = Readiness("kafka")
    with contextlib.suppress(StoppedError), contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(listen_for_operators(settings))
        identity = process_identity(listener.address)
        cleanup.callback(http.serve_admin("audit", readiness, listener.socket).stop)
        client = new_client(zookeeper)
        cleanup.callback(client.stop)
        client.start_async()
        # It reads records with events, and follows no table of them.
        content = {"url": listener.url, "admin_url": listener.url, "leader": False, "events": 0}
        Registration(client, f"/services/audit/{listener.name}", identity).update(content)
        auditor = stop.unless_set(lambda: _Auditor(kafka, readiness))
        cleanup.callback(auditor.close)
        auditor.follow(stop)


class _Auditor:
    def __init__(self, kafka: KafkaSettings, readiness: Readiness) -> None:
        self._reader = log_reader(kafka.bootstrap_servers, kafka.max_record_bytes, **_AT_LEISURE)
        self._readiness = readiness
        last = last_record(self._reader, _SWARMS)
        if last is None:
            raise EmoStreamError(f"{SWARMS_TOPIC} is empty: `emostream topics apply` writes its first record.")
        self._ledger = Ledger(decode_swarm(last.value))
        self._partitions: set[TopicPartition] = set()
        self._swarms_position = last.offset + 1
        self._told = 0

    def close(self) -> None:
        """End the connections to Kafka."""
        self._reader.close()

    def follow(self, stop: threading.Event) -> None:
        """Read both topics as they grow. Raises EmoStreamError where records were deleted before they were read."""
        polls = 0
        while not stop.is_set():
            if polls % _LOOK_FOR_PARTITIONS_POLLS == 0:
                self._look_for_partitions()
            polls += 1
            try:
                self._read()
            except OffsetOutOfRangeError as error:
                raise EmoStreamError(
                    "records were deleted before the audit read them: it restarts from the last swarm."
                ) from error
            except KafkaError as error:
                self._readiness.not_met("kafka", f"reading failed: {error}")
                continue
            self._readiness.met("kafka")
            self._publish()

    def _look_for_partitions(self) -> None:
        """Read every partition of `reactions`, those that were added meanwhile too."""
        numbers = self._reader.partitions_for_topic(REACTIONS_TOPIC) or set()
        found = {TopicPartition(REACTIONS_TOPIC, number) for number in numbers}
        if found <= self._partitions:
            return
        self._partitions |= found
        self._reader.assign([_SWARMS, *self._partitions])
        self._reader.seek(_SWARMS, self._swarms_position)
        for partition in self._partitions:
            self._reader.seek(partition, self._ledger.position(partition.partition))

    def _read(self) -> None:
        too_much = self._ledger.waiting > _MAX_WAITING
        (self._reader.pause if too_much else self._reader.resume)(*self._partitions)
        batches = self._reader.poll(timeout_ms=_POLL_MS)
        for record in batches.pop(_SWARMS, []):
            self._ledger.count(decode_swarm(record.value))
        self._swarms_position = self._reader.position(_SWARMS)
        for partition, records in batches.items():
            for record in records:
                self._ledger.write(partition.partition, record.offset, counts_of(record.value))
        for partition in self._partitions:
            self._ledger.read(partition.partition, self._reader.position(partition))

    def _publish(self) -> None:
        ledger = self._ledger
        wrong = ledger.lost.total() + ledger.doubled.total()
        if wrong > self._told:
            log.error("the count is wrong", lost=dict(ledger.lost), doubled=dict(ledger.doubled))
            self._told = wrong
        metrics.ACCEPTED.set(ledger.accepted)
        metrics.COUNTED.set(ledger.counted)
        metrics.LOST.set(ledger.lost.total())
        metrics.DOUBLED.set(ledger.doubled.total())
        metrics.WAITING.set(ledger.waiting)
