"""Viewers on the real registry and subscribers: none misses or repeats a swarm when a subscriber dies or drains."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from emostream import model
from emostream.client.viewer import Live, Viewer
from emostream.config import KafkaSettings
from emostream.runtime.kafka import durable_producer
from emostream_lab.processes.servers import HOST
from tests.conftest import RunTier, Server, Tier
from tests.integration.asking import get, metric
from tests.integration.viewers import wait_until
from tests.unit.subscriber.examples import swarm

VIEWERS = 90
DEADLINE_SECONDS = 60
STREAMS = 'emostream_subscriber_viewers{event="main",kind="sse"}'


@dataclass
class Stage:
    """A registry, three subscribers of two clusters, and what a publisher of each cluster would write."""

    registry: Tier
    subscribers: dict[str, Tier]
    producer: KafkaProducer
    clusters: tuple[str, str]

    def write(self, *sequences: int) -> None:
        for sequence in sequences:
            for cluster in self.clusters:
                self.producer.send(cluster, model.encode(swarm("s", sequence)), partition=0)
        self.producer.flush(30)

    def registered(self) -> set[str]:
        view = json.loads(get(self.registry.port, "/v1/topology").body)
        return {subscriber["name"] for subscriber in view["subscribers"]}


@pytest.fixture
def stage(kafka: Server, zookeeper: Server, run_tier: RunTier) -> Iterator[Stage]:
    run = uuid.uuid4().hex[:8]
    clusters = (f"client-{run}-a", f"client-{run}-b")
    environment = {
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka.address,
        "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
        "EMOSTREAM_ZOOKEEPER_ROOT": f"/client-{run}",
    }
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(cluster, 1, 1) for cluster in clusters])
    with durable_producer(KafkaSettings(bootstrap_servers=(kafka.address,))) as producer:
        stage = Stage(run_tier("registry", environment=environment), {}, producer, clusters)
        stage.write(0)
        for cluster in (clusters[0], clusters[0], clusters[1]):
            tier = run_tier("subscriber", "--cluster", cluster, environment=environment)
            stage.subscribers[f"{cluster}/{tier.port}"] = tier
        yield stage


class Audience:
    """Some viewers, a third of them by WebSocket, and half of them with compact swarms."""

    def __init__(self, registry: Tier) -> None:
        self.viewers = [
            Viewer(
                f"http://{HOST}:{registry.port}",
                f"u{number}",
                protocol="sse" if number % 3 else "ws",
                form="full" if number % 2 else "compact",
            )
            for number in range(VIEWERS)
        ]

    def places(self) -> Counter[str]:
        """How many viewers are live at each subscriber."""
        return Counter(viewer.state.subscriber for viewer in self.viewers if isinstance(viewer.state, Live))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 (there is no event for what another process does)
                await asyncio.sleep(0.05)

    async def wait_for(self, sequence: int) -> None:
        """Return once every viewer has seen this swarm."""
        await self.wait_until(lambda: all(viewer.watcher.sequence == sequence for viewer in self.viewers))


async def watch_through_losses(stage: Stage) -> Audience:
    audience = Audience(stage.registry)
    running = [asyncio.create_task(viewer.run()) for viewer in audience.viewers]
    try:
        await audience.wait_for(0)
        assert audience.places() == dict.fromkeys(stage.subscribers, VIEWERS // 3)
        stage.write(1, 2)
        await audience.wait_for(2)

        killed, drained, last = stage.subscribers
        stage.subscribers[killed].process.send_signal(signal.SIGKILL)
        stage.write(3)
        await audience.wait_for(3)
        assert audience.places().keys() == {drained, last}
        stage.subscribers[drained].process.terminate()
        stage.write(4, 5)
        await audience.wait_for(5)
        await audience.wait_until(lambda: audience.places() == {last: VIEWERS})
        stage.write(6)
        await audience.wait_for(6)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    return audience


def test_viewers_follow_through_a_death_and_a_drain_without_gap_or_repeat(stage: Stage) -> None:
    wait_until(lambda: stage.registered() == set(stage.subscribers))
    audience = asyncio.run(watch_through_losses(stage))
    wait_until(lambda: stage.registered() == set(list(stage.subscribers)[2:]))
    for viewer in audience.viewers:
        watcher = viewer.watcher
        assert (watcher.snapshots, watcher.swarms, watcher.totals) == (1, 6, {"🔥": 18, "👏": 7})
        assert (watcher.gaps, watcher.repeats, watcher.lost, watcher.resets, watcher.mismatches) == (0, 0, 0, 0, 0)


def test_the_terminal_client_goes_on_without_a_gap_when_its_subscriber_is_killed(stage: Stage) -> None:
    wait_until(lambda: stage.registered() == set(stage.subscribers))
    command = [sys.executable, "-m", "emostream", "client", "--json"]
    environment = {**os.environ, "EMOSTREAM_CLIENT_REGISTRY_URL": f"http://{HOST}:{stage.registry.port}"}
    messages: list[dict[str, Any]] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
        reader = threading.Thread(target=lambda: messages.extend(json.loads(line) for line in client.stdout or ()))
        reader.start()
        try:
            wait_until(lambda: messages, DEADLINE_SECONDS)
            (holder,) = (tier for tier in stage.subscribers.values() if metric(tier.admin_port, STREAMS))
            stage.write(1)
            wait_until(lambda: messages[-1]["sequence"] == 1, DEADLINE_SECONDS)
            holder.process.send_signal(signal.SIGKILL)
            stage.write(2, 3)
            wait_until(lambda: messages[-1]["sequence"] == 3, DEADLINE_SECONDS)
        finally:
            client.terminate()
            reader.join()
    assert [(message["type"], message["sequence"]) for message in messages] == [
        ("snapshot", 0),
        ("swarm", 1),
        ("swarm", 2),
        ("swarm", 3),
    ]
