"""Ingest's committer on a real broker: after any failure inside it, requests are answered and it recovers."""

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from emostream.config import IngestSettings, KafkaSettings
from emostream.events.labels import EventCounter
from emostream.ingest import committer as committing
from emostream.ingest import metrics
from emostream.ingest.committer import Committer, NotAccepted, Outcome, OutcomeUnknown
from emostream.ingest.validation import Batch
from emostream.model import Record
from emostream.runtime.readiness import Readiness
from tests.conftest import Server

BATCH = Batch({"🔥": 1}, '{"user_id":"u","emoji_type":"🔥","timestamp":1}'.encode())
CONDITIONS = ("kafka", "accepting")

Play = Callable[[Callable[[Committer, Readiness], Awaitable[None]]], None]


@pytest.fixture
def play(kafka: Server, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a committer on a topic of its own for as long as a scene lasts."""
    topic = f"reactions-{uuid.uuid4().hex[:8]}"
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])
    monkeypatch.setattr(committing, "REACTIONS_TOPIC", topic)

    async def run(scene: Callable[[Committer, Readiness], Awaitable[None]]) -> None:
        readiness = Readiness(*CONDITIONS)
        committer = Committer(
            "127.0.0.1:8000",
            IngestSettings(),
            KafkaSettings(bootstrap_servers=(kafka.address,)),
            readiness,
            EventCounter(metrics.reactions_accepted, 0),
        )
        committer.start()
        try:
            async with asyncio.timeout(60):
                await scene(committer, readiness)
        finally:
            await committer.drain()

    return lambda scene: asyncio.run(run(scene))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (what another thread does is no event of this loop)
        await asyncio.sleep(0.02)


async def submit(committer: Committer) -> Outcome:
    waiter = committer.submit(BATCH, "a-request")
    return waiter if isinstance(waiter, NotAccepted) else await waiter


async def is_committed_again(committer: Committer) -> None:
    """Return once a request is committed; until then each is refused at once."""
    while not isinstance(outcome := await submit(committer), Record):
        assert isinstance(outcome, NotAccepted)
        await asyncio.sleep(0.02)


def test_connecting_that_fails_unexpectedly_is_tried_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [ZeroDivisionError("a fault of the client's")]
    make = committing.durable_producer

    def fail_once(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return make(*arguments, **options)

    monkeypatch.setattr(committing, "durable_producer", fail_once)

    async def scene(committer: Committer, readiness: Readiness) -> None:
        await until(lambda: not failures and "a fault" in readiness.reasons().get("kafka", ""))
        await is_committed_again(committer)
        await until(readiness.is_ready)

    play(scene)


def test_a_check_of_kafka_that_fails_unexpectedly_is_reported_and_repeated(play: Play) -> None:
    async def scene(committer: Committer, readiness: Readiness) -> None:
        await until(readiness.is_ready)
        reader = committer._reader
        committer._reader = None
        await until(lambda: "checking Kafka failed" in readiness.reasons().get("kafka", ""))
        committer._reader = reader
        await until(readiness.is_ready)

    play(scene)


def test_it_is_not_ready_while_its_producer_is_replaced_after_any_error_of_a_send(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, may_connect = committing.durable_producer, threading.Event()

    def make_when_allowed(*arguments: Any, **options: Any) -> Any:
        assert may_connect.wait(60)
        return make(*arguments, **options)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault of the client's")

    async def scene(committer: Committer, readiness: Readiness) -> None:
        await until(readiness.is_ready)
        monkeypatch.setattr(committing, "durable_producer", make_when_allowed)
        monkeypatch.setattr(committer._producer, "send", fail)
        # The client may already hold the record.
        assert isinstance(await submit(committer), OutcomeUnknown)
        for _ in range(3):
            assert isinstance(await submit(committer), NotAccepted)
            assert "Reconnecting to Kafka" in readiness.reasons()["kafka"]
            # A check of Kafka in the meantime does not make it ready.
            await committer._check_kafka()
        may_connect.set()
        await is_committed_again(committer)
        await until(readiness.is_ready)

    play(scene)
