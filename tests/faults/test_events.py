"""Tests that an event which closes while something breaks ends with all that was accepted for it, each counted once."""

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import TopicPartition

from emostream import model
from emostream.client.errors import NotAnsweredError, NotSentError
from emostream.config import KafkaSettings
from emostream.events import store
from emostream.model import EVENT_COUNTS_HEADER, REACTIONS_TOPIC, SWARMS_TOPIC, Reaction, decode_swarm
from emostream.runtime.coordination import connect, registrations
from emostream.runtime.kafka import log_reader, records_until
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from tests.integration.asking import post
from tests.integration.viewers import Connection, wait_until
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.timeout(600)]

SENDERS = 8
REACTIONS = 20
NOW_MS = 1_732_370_000_123


@dataclass
class Sent:
    """What became of a sender's reactions. The unknown ones may be in Kafka, or not."""

    accepted: int = 0
    unknown: int = 0


@pytest.fixture
def event(pipeline: Pipeline) -> Iterator[str]:
    """An open event, which is gone after the test."""
    event = f"final-{uuid.uuid4().hex[:8]}"
    pipeline.operate("events", "open", event, "--title", "India – Australia")
    yield event
    pipeline.operate("events", "close", event)
    pipeline.operate("events", "archive", event, "--force")


@contextmanager
def senders(pipeline: Pipeline, event: str) -> Iterator[list[Future[Sent]]]:
    """Several that react until the event is closed; they have sent a thousand requests when the test goes on."""
    outcomes, is_over = [Sent() for _ in range(SENDERS)], threading.Event()

    def sent() -> int:
        return sum(each.accepted + each.unknown for each in outcomes)

    with ThreadPoolExecutor() as background:
        running = [background.submit(react_until_closed, pipeline, event, each, is_over) for each in outcomes]
        try:
            wait_until(lambda: sent() >= 1_000 * REACTIONS, 120, sent)
            yield running
            # Each ends once ingest refuses the event.
            wait(running, timeout=60)
        finally:
            is_over.set()


def react_until_closed(pipeline: Pipeline, event: str, sent: Sent, is_over: threading.Event) -> Sent:
    body = model.encode([Reaction("u1", "🔥", NOW_MS)] * REACTIONS)
    while not is_over.is_set():
        try:
            status = post(pipeline.layout.ports.ingest, f"/v1/events/{event}/reactions", body).status
        except NotSentError:
            status = 503
        except NotAnsweredError:
            status = 504
        if status == 410:
            return sent
        assert status in {202, 503, 504}, status
        sent.accepted += REACTIONS * (status == 202)
        sent.unknown += REACTIONS * (status == 504)
        if status == 503:
            time.sleep(0.05)
    raise AssertionError("ingest does not say that the event is closed")


def no_fault(pipeline: Pipeline, event: str) -> None:
    """Close while a thousand requests have come, and more come."""
    pipeline.operate("events", "close", event)


def ingest_is_killed(pipeline: Pipeline, event: str) -> None:
    """It is stopped before it can confirm the close, with requests in flight, and then it is killed."""
    ingest = pipeline.part("ingest").process
    with close_running(pipeline, event, while_stopped="ingest") as closing:
        # The session in ZooKeeper has ended when it is killed: the close goes on without its confirmation.
        wait_until(closing.done, 60, every_seconds=0.1)
        ingest.send_signal(signal.SIGKILL)


def aggregator_is_killed(pipeline: Pipeline, event: str) -> None:
    """It is stopped before it can write the end, and then it is killed: the next one ends the event."""
    aggregator = pipeline.part("aggregator").process
    with close_running(pipeline, event, while_stopped="aggregator") as closing:
        wait_until(lambda: json.loads(pipeline.operate("events", "show", event))["state"] == "closing", 60)
        assert not closing.done()
        aggregator.send_signal(signal.SIGKILL)


def zookeeper_is_away(pipeline: Pipeline, event: str) -> None:
    """It is stopped for longer than all sessions, during an open, a close and an archive."""
    zookeeper = pipeline.part("zookeeper").process
    zookeeper.send_signal(signal.SIGSTOP)
    try:
        commands = [("open", "cup", "--title", "A cup"), ("close", event), ("archive", event, "--force")]
        with ThreadPoolExecutor() as background:
            for refused in background.map(lambda command: pipeline.command("events", *command), commands):
                assert (refused.returncode, "is zookeeper.service active" in refused.stderr) == (1, True), refused
    finally:
        zookeeper.send_signal(signal.SIGCONT)
    wait_until(lambda: pipeline.command("events", "close", event).returncode == 0, 120, every_seconds=1)
    assert "cup" not in pipeline.operate("events", "list")


@contextmanager
def close_running(pipeline: Pipeline, event: str, while_stopped: str) -> Iterator[Future[str]]:
    """A close that runs while a process is stopped. It has ended well when the block is left."""
    process = pipeline.part(while_stopped).process
    process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as background:
            closing = background.submit(pipeline.operate, "events", "close", event, "--timeout", "120")
            yield closing
            closing.result()
    finally:
        # If the block failed, it is the same process.
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("close", [no_fault, ingest_is_killed, aggregator_is_killed, zookeeper_is_away])
def test_an_event_ends_with_all_that_was_accepted(
    pipeline: Pipeline, event: str, close: Callable[[Pipeline, str], None]
) -> None:
    port = pipeline.layout.ports.subscribers[0][0]
    with Connection(port, f"/v1/events/{event}/stream") as viewer:
        wait_until(viewer.seen, 60)
        with senders(pipeline, event) as running:
            close(pipeline, event)
        outcomes = [each.result() for each in running]
        viewer.wait_end()
        end = viewer.messages()[-1]
    assert isinstance(end, model.End)
    total = sum(end.totals.values())
    assert total == written(pipeline, event)
    accepted, unknown = (sum(getattr(each, name) for each in outcomes) for name in ("accepted", "unknown"))
    assert accepted <= total <= accepted + unknown


def test_an_aggregator_killed_between_the_last_swarm_and_the_end_leaves_one_end(pipeline: Pipeline, event: str) -> None:
    port, requests = pipeline.layout.ports.subscribers[0][0], 10
    kafka, aggregator = (pipeline.part(name).process for name in ("kafka", "aggregator"))
    with Connection(port, f"/v1/events/{event}/stream") as viewer:
        wait_until(viewer.seen, 60)
        body = model.encode([Reaction("u1", "🔥", NOW_MS)] * REACTIONS)
        for _ in range(requests):
            assert post(pipeline.layout.ports.ingest, f"/v1/events/{event}/reactions", body).status == 202
        wait_until(lambda: shown(viewer) == requests * REACTIONS, 60, viewer.seen)
        before = viewer.seen()
        # The aggregator learns that the event is complete, and can write nothing.
        with close_running(pipeline, event, while_stopped="kafka"):
            wait_until(lambda: is_confirmed(pipeline, event), 60)
            aggregator.send_signal(signal.SIGKILL)
            kafka.send_signal(signal.SIGCONT)
        viewer.wait_end()
        *earlier, end = viewer.messages()
    assert viewer.seen()[:-1] == before, "no swarm was left to come"
    assert isinstance(end, model.End)
    assert not any(isinstance(each, model.End) for each in earlier)
    assert end.totals == {"🔥": requests * REACTIONS}
    parts = [part for each in records(pipeline, SWARMS_TOPIC) if (part := decode_swarm(each.value).parts.get(event))]
    assert {model.message_id(part.stream, part.sequence) for part in parts if part.ended} == {end.id}


def shown(viewer: Connection) -> int:
    """How many reactions the swarms of a viewer add up to."""
    return sum(each.reactions for each in viewer.messages() if isinstance(each, model.Swarm))


def is_confirmed(pipeline: Pipeline, event: str) -> bool:
    """Whether each ingest has confirmed that the event is closed, and the aggregator knows that it closes."""
    zookeeper, _ = topology.operator_settings(pipeline.layout)
    client = connect(zookeeper)
    try:
        revision = store.read(client).revision
        ingests = [content for _, content in registrations(client, "/services/ingest")]
        aggregators = [content for _, content in registrations(client, "/services/aggregator")]
    finally:
        client.stop()
        client.close()
    return all(event in each.get("closed", {}) for each in ingests) and all(
        each["events"] >= revision for each in aggregators
    )


def written(pipeline: Pipeline, event: str) -> int:
    """How many reactions to the event are in Kafka."""
    counts = [
        json.loads(dict(each.headers).get(EVENT_COUNTS_HEADER, b"{}")) for each in records(pipeline, REACTIONS_TOPIC)
    ]
    return sum(sum(each.get(event, {}).values()) for each in counts)


def records(pipeline: Pipeline, topic: str) -> Iterator[Any]:
    """All records of a topic."""
    settings = KafkaSettings(bootstrap_servers=(f"{HOST}:{pipeline.layout.ports.kafka}",))
    with log_reader(settings.bootstrap_servers, settings.max_record_bytes) as reader:
        for number in reader.partitions_for_topic(topic):
            partition = TopicPartition(topic, number)
            reader.assign([partition])
            end = reader.end_offsets([partition])[partition]
            yield from records_until(reader, partition, 0, end, 60)
