"""The aggregator's life: ready Spark, win the election, fence and read back, count, and end rather than guess.

Nothing is ever retried here. A write whose outcome is unknown, a lost election, a query that failed: each ends the
process, and its supervisor starts a new one, which reads from `swarms` what happened.
"""

import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from emostream.aggregator import metrics, query, session, streaming
from emostream.aggregator.events import EventKeeper
from emostream.aggregator.preparation import Preparation
from emostream.aggregator.streaming import QueryOptions
from emostream.config import AggregatorSettings, KafkaSettings, LogSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError, OutcomeUnknownError
from emostream.events.labels import EventCounter, open_streams
from emostream.events.steps import Seen
from emostream.events.store import Follower
from emostream.model import MAIN, REACTIONS_TOPIC, Swarm
from emostream.runtime import http, logs
from emostream.runtime.background import in_background
from emostream.runtime.coordination import Election, Registration, connect, process_identity, registrations
from emostream.runtime.listener import listen_for_operators
from emostream.runtime.process import StoppedError, StopSignals
from emostream.runtime.readiness import Readiness
from emostream.swarms.log import DeadLetter, SwarmLog, describe_reactions
from emostream.swarms.rules import (
    Batch,
    Changes,
    Compression,
    changed_swarm,
    next_swarm,
    offsets_planned,
    offsets_without_record,
    starting_offsets,
    unknown_events,
)

log = logs.get(__name__)

EXIT_OUTCOME_UNKNOWN = 3
"""The process ended in the middle of a write: it may or may not be in `swarms`."""

_POLL_SECONDS = 0.25
# Beyond the age at which the broker aborts the transaction by itself, waiting for it is of no use.
_WRITE_GRACE_SECONDS = 5.0
_OVERDUE_SECONDS = 15.0
# An executor that was lost is replaced within some 10 s, if a worker has room. Another aggregator counts sooner.
_HAND_OVER_SECONDS = 2.0
# One that has no executor yet counts as standing by after this time: there may be no room for another one.
_STAND_BY_SECONDS = 60.0
_REGISTRATIONS = "/services/aggregator"


def run(
    settings: AggregatorSettings, kafka: KafkaSettings, zookeeper: ZooKeeperSettings, log_settings: LogSettings
) -> None:
    """Stand by or aggregate until SIGTERM or SIGINT. Raises EmoStreamError for what an operator must see to."""
    stop = StopSignals()
    readiness = Readiness("zookeeper", "batches")
    with contextlib.suppress(StoppedError), contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(listen_for_operators(settings))
        identity = process_identity(listener.address)
        cleanup.callback(http.serve_admin("aggregator", readiness, listener.socket).stop)
        client = stop.unless_set(lambda: connect(zookeeper))
        cleanup.callback(client.close)
        cleanup.callback(client.stop)
        readiness.met("zookeeper")
        registration = Registration(client, f"{_REGISTRATIONS}/{listener.name}", identity)
        election = Election(client, "/elections/aggregator", identity)
        registered = _Registered(registration, listener.url)
        follower = Follower(client, registered.follow)
        follower.start()
        scratch = _scratch(settings)
        preparation = Preparation(settings, kafka, log_settings, scratch)
        standing_by = _StandingBy(preparation, readiness, registered)
        if not election.win(stop, on_waiting=standing_by.check):
            return
        cleanup.callback(election.resign)
        readiness.not_met("batches", "elected: Spark is starting")
        registered.lead()
        metrics.LEADER.set(1)
        _aggregate(settings, kafka, preparation, scratch, _Term(election, readiness, stop, client, follower))
    log.info("aggregator ends")


class _Registered:
    """What this process tells in its registration: whether it leads or could, and which table of events it follows."""

    def __init__(self, registration: Registration, url: str) -> None:
        self._registration = registration
        self._content: dict[str, Any] = {
            "url": url,
            "admin_url": url,
            "leader": False,
            "could_lead": False,
            "events": 0,
        }
        # The follower tells in a thread of its own.
        self._lock = threading.Lock()
        self._tell()

    def follow(self, seen: Seen) -> None:
        self._tell(events=seen.revision)

    def lead(self) -> None:
        self._tell(leader=True, could_lead=False)

    def stand_by(self, *, could_lead: bool) -> None:
        if could_lead != self._content["could_lead"]:
            self._tell(could_lead=could_lead)

    def _tell(self, **changed: object) -> None:
        with self._lock:
            self._content = {**self._content, **changed}
            self._registration.update(self._content)


class _StandingBy:
    """Another one leads: to stand by is this process's work."""

    def __init__(self, preparation: Preparation, readiness: Readiness, registered: _Registered) -> None:
        self._preparation = preparation
        self._readiness = readiness
        self._registered = registered
        self._could_lead_at = time.monotonic()

    def check(self) -> None:
        """Tell whether this process could take over at once. Raises EmoStreamError if it could not at all."""
        self._preparation.check()
        now = time.monotonic()
        could_lead = self._preparation.is_complete()
        self._registered.stand_by(could_lead=could_lead)
        if could_lead:
            self._could_lead_at = now
        if now - self._could_lead_at > _STAND_BY_SECONDS or could_lead:
            self._readiness.met("batches")
        else:
            self._readiness.not_met("batches", "standing by: Spark has no executor yet")


@dataclass(frozen=True)
class _Term:
    """The time as leader: how it was won, and what ends it."""

    election: Election
    readiness: Readiness
    stop: StopSignals
    client: KazooClient
    follower: Follower

    def continues_after(self, seconds: float) -> bool:
        """Wait; False if told to stop. Raises EmoStreamError if the election is lost."""
        if self.stop.wait(seconds):
            return False
        if not self.election.is_leader:
            raise EmoStreamError("the ZooKeeper session was lost: another aggregator may lead by now")
        return True

    def has_successor(self) -> bool:
        """Whether another aggregator could lead at once. Without ZooKeeper nobody can."""
        # A read would wait until there is a connection again.
        if not self.client.connected:
            return False
        with contextlib.suppress(KazooException):
            return any(content.get("could_lead") for _, content in registrations(self.client, _REGISTRATIONS))
        return False

    def continues_until(self, future: Future[Any]) -> bool:
        """Wait for what may take long, in the same way."""
        while not future.done():
            if not self.continues_after(_POLL_SECONDS):
                return False
        return True


def _aggregate(
    settings: AggregatorSettings, kafka: KafkaSettings, preparation: Preparation, scratch: Path, term: _Term
) -> None:
    with term.stop.unless_set(lambda: SwarmLog(kafka, settings.transaction_timeout_ms)) as swarms:
        last, topic = term.stop.unless_set(lambda: (swarms.last(), describe_reactions(kafka)))
        offsets = starting_offsets(last, topic)
        assert last is not None, "starting_offsets refuses an empty log"  # noqa: S101
        log.info("aggregator read the last swarm", swarm=last.id, offsets=offsets)
        ready = in_background("ready-spark", lambda: preparation.finish(is_work_waiting=offsets != topic.ends))
        if not term.continues_until(ready):
            return
        spark = ready.result()
        checkpoint = scratch / "reactions"
        writer = _Writer(settings, swarms, last, checkpoint)
        options = QueryOptions(
            REACTIONS_TOPIC, offsets, settings.max_records_per_trigger, settings.trigger_ms, checkpoint
        )
        running = streaming.start(spark, kafka, options, writer)
        monitor = _QueryMonitor(spark, running, settings, term.readiness)
        hand_over = _HandOver(lambda: session.lacks_executor(spark, settings), term.has_successor)
        keeper = EventKeeper(
            term.client, term.follower, lambda: writer.last, writer.change, lambda: describe_reactions(kafka).ends
        )
        has_ended = threading.Event()
        threading.Thread(target=keeper.run, args=(has_ended,), name="events", daemon=True).start()
        try:
            while term.continues_after(_POLL_SECONDS):
                if writer.failure is not None:
                    raise EmoStreamError(f"a batch failed: {_first_line(writer.failure)}") from writer.failure
                monitor.check()
                hand_over.check()
        finally:
            has_ended.set()
            writer.end()
            # Before Spark has stopped, which takes some seconds: viewers wait for the next one.
            term.election.resign()
            _stop_spark(running, spark)


class _Writer:
    """Turns each micro-batch of Spark into the next record of `swarms`. After a failure it writes nothing more."""

    def __init__(self, settings: AggregatorSettings, swarms: SwarmLog, last: Swarm, checkpoint: Path) -> None:
        self._settings = settings
        self._compression = Compression(settings.compression_ratio, settings.compression_rule)
        self._swarms = swarms
        self.last = last
        self._checkpoint = checkpoint
        # Batches and changes of events take turns.
        self._turn = threading.Lock()
        self._is_writing = threading.Lock()
        self.failure: Exception | None = None
        self._counted = EventCounter(metrics.REACTIONS, settings.max_event_labels)
        self._counted.follow(open_streams(last.parts))
        metrics.SEQUENCE.set(last.sequence)

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Spark calls this for one batch after the other, in a thread of its own."""
        with self._turn, metrics.BATCH.time():
            self._attempt(lambda: self._write_batch(frame, batch_id))

    def change(self, changes: Changes) -> bool:
        """Write a record that counts nothing, and makes these changes to the events. Returns whether it is written."""
        with self._turn:
            swarm = changed_swarm(self.last, changes, int(time.time() * 1000), self._settings.trigger_ms)
            return self._attempt(lambda: self._write(swarm, (), unused_offsets=0))

    def end(self) -> None:
        """Write nothing more. A write that has begun ends first, in one way or another."""
        with self._is_writing:
            self.failure = self.failure or EmoStreamError("this aggregator ends")

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Return whether it was done."""
        if self.failure is not None:
            return False
        try:
            write()
        except Exception as error:
            # Spark would log it at a length of some hundred lines, and end the query; `_QueryMonitor` ends it as well.
            self.failure = error
            return False
        return True

    def _write_batch(self, frame: DataFrame, batch_id: int) -> None:
        began_ms = int(time.time() * 1000)
        ends = _planned_ends(self._checkpoint, batch_id)
        groups, letters = query.count(frame, offsets_planned(self.last, ends))
        if unknown := unknown_events(self.last, groups):
            letters += query.late_reactions(frame, unknown)
        batch = Batch(ends, groups, len(letters))
        swarm = next_swarm(self.last, batch, began_ms, self._settings.trigger_ms, self._compression)
        if swarm.progress == self.last.progress:
            return
        self._write(swarm, letters, offsets_without_record(self.last, batch))

    def _write(self, swarm: Swarm, letters: Sequence[DeadLetter], unused_offsets: int) -> None:
        timeout_seconds = self._settings.transaction_timeout_ms / 1000 + _WRITE_GRACE_SECONDS
        with self._is_writing:
            if self.failure is not None:
                raise self.failure
            with outcome_known_within(timeout_seconds), metrics.COMMIT.time():
                self._swarms.append(swarm, letters)
        _report(swarm, letters, unused_offsets)
        self._report_reactions(swarm)
        self.last = swarm

    def _report_reactions(self, swarm: Swarm) -> None:
        self._counted.inc(MAIN, swarm.reactions)
        for event, part in swarm.parts.items():
            if part.counts:
                self._counted.inc(event, sum(part.counts.values()))
        self._counted.follow(open_streams(swarm.parts))


def _report(swarm: Swarm, letters: Sequence[DeadLetter], unused_offsets: int) -> None:
    if letters:
        first = letters[0]
        position = f"{first.partition}/{first.offset}"
        log.warning("records went to the dead-letter topic", count=len(letters), first=position, reason=first.reason)
    if unused_offsets:
        log.warning("reactions has offsets without records", count=unused_offsets, swarm=swarm.id)
    metrics.UNUSED_OFFSETS.inc(unused_offsets)
    metrics.SEQUENCE.set(swarm.sequence)
    metrics.SWARMS.inc()
    metrics.DEAD_LETTERS.inc(len(letters))


def _planned_ends(checkpoint: Path, batch_id: int) -> dict[int, int]:
    """The offsets before which Spark ends this batch, and after which it begins the next one, by partition.

    The records alone do not tell: offsets that the end of a transaction took up have none.
    """
    lines = (checkpoint / "offsets" / str(batch_id)).read_text(encoding="utf-8").splitlines()
    return {int(partition): end for partition, end in json.loads(lines[2])[REACTIONS_TOPIC].items()}


@contextlib.contextmanager
def outcome_known_within(seconds: float) -> Iterator[None]:
    """End the whole process, at once, where the write in this block fails or takes longer.

    Neither can be told from a write that succeeded. Anything that this process did next could count a batch twice.
    """
    timer = threading.Timer(seconds, _exit_at_once, [f"a write took longer than {seconds:g} s"])
    timer.daemon = True
    timer.start()
    try:
        yield
    except OutcomeUnknownError as error:
        _exit_at_once(str(error))
    finally:
        timer.cancel()


def _exit_at_once(reason: str) -> None:
    log.error("aggregator exits to read back what was written", reason=reason)
    os._exit(EXIT_OUTCOME_UNKNOWN)


class _QueryMonitor:
    """Reports whether the query lives and how far behind it is, and tells when it cannot go on."""

    def __init__(
        self, spark: SparkSession, running: StreamingQuery, settings: AggregatorSettings, readiness: Readiness
    ) -> None:
        self._spark = spark
        self._settings = settings
        self._running = running
        self._readiness = readiness
        self._overdue_seconds = max(_OVERDUE_SECONDS, 5 * settings.trigger_ms / 1000)
        self._seen: Any = None
        self._seen_at = time.monotonic()

    def check(self) -> None:
        """Report once. Raises EmoStreamError if the query has ended, or waits in vain."""
        if not self._running.isActive:
            raise EmoStreamError(f"Spark's query ended: {_first_line(self._running.exception())}")
        progress = self._running.lastProgress
        if progress is not None and progress["timestamp"] != self._seen:
            self._seen, self._seen_at = progress["timestamp"], time.monotonic()
            metrics.LAG.set(_lag(progress))
        waited_seconds = time.monotonic() - self._seen_at
        if waited_seconds < self._overdue_seconds:
            # As long as none has ended, viewers wait.
            if self._seen is not None:
                self._readiness.met("batches")
        else:
            self._readiness.not_met(
                "batches",
                f"no batch ended for {self._overdue_seconds:g} s: does Spark have an executor, and is Kafka active?",
            )
        session.check_executors(self._spark, self._settings, waited_seconds)


class _HandOver:
    """Ends a leader that has lost its executor, if another aggregator has one and so counts sooner."""

    def __init__(self, lacks_executor: Callable[[], bool], has_successor: Callable[[], bool]) -> None:
        self._lacks_executor = lacks_executor
        self._has_successor = has_successor
        self._had_at = time.monotonic()

    def check(self) -> None:
        """Look once. Raises EmoStreamError if another one should lead."""
        now = time.monotonic()
        if not self._lacks_executor():
            self._had_at = now
        elif now - self._had_at > _HAND_OVER_SECONDS and self._has_successor():
            raise EmoStreamError("Spark lost its executor. Another aggregator has one, so it leads now.")


def _lag(progress: Any) -> int:
    (source,) = progress["sources"]
    latest, end = (json.loads(source[name] or "{}").get(REACTIONS_TOPIC, {}) for name in ("latestOffset", "endOffset"))
    return int(sum(latest.values()) - sum(end.values()))


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0]


def _stop_spark(running: StreamingQuery, spark: SparkSession) -> None:
    with contextlib.suppress(Exception):
        running.stop()
    with contextlib.suppress(Exception):
        spark.stop()


def _scratch(settings: AggregatorSettings) -> Path:
    """An empty folder for Spark's checkpoints, which would override the offsets that we start from if they had any."""
    work = Path(settings.work_dir).resolve()
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    (work / "checkpoints").mkdir(parents=True)
    return Path(tempfile.mkdtemp(dir=work / "checkpoints"))
