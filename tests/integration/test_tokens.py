"""With a key, the real registry and subscriber serve viewers with a token alone, and keep those who renew theirs."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

from emostream import model
from emostream.client import http1
from emostream.client.http1 import Response
from emostream.client.viewer import Viewer
from emostream.config import KafkaSettings
from emostream.runtime.kafka import durable_producer
from emostream_lab.processes.servers import HOST
from tests.conftest import RunTier, Server, Tier
from tests.integration.asking import address, ask, get, metric
from tests.integration.viewers import wait_until
from tests.unit.subscriber.examples import swarm
from tests.unit.tokens.signing import OTHER_SECRET, SECRET, signed

LIFE_SECONDS = 3
RENEWALS = 3
DEADLINE_SECONDS = 60


@dataclass
class Stage:
    """A registry and a subscriber that want tokens, and what a publisher would write."""

    registry: Tier
    subscriber: Tier
    producer: KafkaProducer
    cluster: str
    secret: Path

    def write(self, sequence: int) -> None:
        self.producer.send(self.cluster, model.encode(swarm("s", sequence)), partition=0).get(30)

    def assign(self, token: str | None) -> Response:
        body = model.encode(model.AssignmentRequest("u1"))
        return ask(self.registry.port, http1.post_json(address(self.registry.port, "/v1/assignments"), body, token))

    def guest(self) -> model.GuestToken:
        request = http1.post_json(address(self.registry.port, "/v1/guests"), b"{}")
        return model.decode(ask(self.registry.port, request).body, model.GuestToken)


@pytest.fixture
def stage(kafka: Server, zookeeper: Server, run_tier: RunTier, tmp_path: Path) -> Iterator[Stage]:
    run = uuid.uuid4().hex[:8]
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    environment = {
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka.address,
        "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
        "EMOSTREAM_ZOOKEEPER_ROOT": f"/tokens-{run}",
        "EMOSTREAM_TOKENS_SECRET_FILE": str(secret),
        "EMOSTREAM_TOKENS_GUESTS": "true",
        "EMOSTREAM_TOKENS_JITTER_SECONDS": "0",
        "EMOSTREAM_TOKENS_LEEWAY_SECONDS": "0",
    }
    cluster = f"tokens-{run}"
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(cluster, 1, 1)])
    with durable_producer(KafkaSettings(bootstrap_servers=(kafka.address,))) as producer:
        registry = run_tier("registry", environment=environment)
        stage = Stage(registry, registry, producer, cluster, secret)
        stage.write(0)
        stage.subscriber = run_tier("subscriber", "--cluster", cluster, environment=environment)
        wait_until(lambda: json.loads(get(registry.port, "/v1/topology").body)["subscribers"])
        yield stage


def token(seconds: float = 60, **changes: Any) -> str:
    return signed(**{"exp": time.time() + seconds, "events": ["main"], **changes})


def test_the_registry_assigns_viewers_with_a_token_alone(stage: Stage) -> None:
    assert stage.assign(token()).status == 200
    for wrong, status in (
        ("junk", 401),
        (token(-1), 401),
        (token(nbf=time.time() + 60), 401),
        (token(aud="elsewhere"), 401),
        (signed(OTHER_SECRET, exp=time.time() + 60), 401),
        (token(may=["react"]), 403),
        (token(events=["final"]), 403),
    ):
        refused = stage.assign(wrong)
        assert refused.status == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"].startswith('Bearer realm="emostream"')
        assert refused.reason
    assert metric(stage.registry.admin_port, 'emostream_tokens_refusals_total{reason="right"}') == 2


def test_a_guest_gets_a_token_to_react_and_watch(stage: Stage) -> None:
    assigned = model.decode(stage.assign(None).body, model.Assignment)
    assert isinstance(assigned.token, str)
    assert stage.assign(assigned.token).status == 200
    assert isinstance(model.decode(stage.assign(assigned.token).body, model.Assignment).token, msgspec.UnsetType)
    guest = stage.guest()
    assert stage.assign(guest.token).status == 200
    assert abs(guest.expires - time.time() - 3_600) < 60
    assert guest.token != stage.guest().token


def test_a_new_secret_is_used_without_a_restart(stage: Stage) -> None:
    new = signed(OTHER_SECRET, exp=time.time() + 60, events=["main"])
    assert stage.assign(new).status == 401
    stage.secret.write_bytes(OTHER_SECRET + b"\n" + SECRET)
    wait_until(lambda: stage.assign(new).status == 200)
    assert stage.assign(token()).status == 200
    stage.secret.write_bytes(OTHER_SECRET)
    wait_until(lambda: stage.assign(token()).status == 401)
    assert stage.assign(new).status == 200


def test_a_websocket_carries_its_token_as_a_subprotocol(stage: Stage) -> None:
    url = f"ws://{HOST}:{stage.subscriber.port}/v1/ws"
    offered = [Subprotocol("emostream"), Subprotocol(token())]
    with connect_websocket(url, subprotocols=offered) as websocket:
        assert websocket.subprotocol == "emostream"
        assert json.loads(websocket.recv())["type"] == "snapshot"
    with pytest.raises(InvalidStatus) as refused, connect_websocket(url):
        pass
    assert refused.value.response.status_code == 401


def test_viewers_whose_tokens_expire_miss_and_repeat_nothing(stage: Stage) -> None:
    """Each token is good for three seconds: each viewer renews its own several times while swarms come."""
    renewals = dict.fromkeys(("sse", "ws"), 0)

    def source(protocol: str) -> Callable[[], Awaitable[str]]:
        async def renew() -> str:
            renewals[protocol] += 1
            return token(LIFE_SECONDS)

        return renew

    async def watch() -> list[Viewer]:
        url = f"http://{HOST}:{stage.registry.port}"
        viewers = [Viewer(url, "u1", protocol=protocol, token=source(protocol)) for protocol in ("sse", "ws")]  # type: ignore[arg-type]
        running = [asyncio.create_task(viewer.run()) for viewer in viewers]
        sequence = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while min(renewals.values()) <= RENEWALS:
                sequence += 1
                await asyncio.to_thread(stage.write, sequence)
                await asyncio.sleep(0.2)
            while not all(viewer.watcher.sequence == sequence for viewer in viewers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        return viewers

    for viewer in asyncio.run(watch()):
        watcher = viewer.watcher
        assert (watcher.gaps, watcher.repeats, watcher.lost, watcher.resets, watcher.mismatches) == (0, 0, 0, 0, 0)
        assert watcher.snapshots == 1
    assert metric(stage.subscriber.admin_port, "emostream_subscriber_token_expiries_total") >= 2 * RENEWALS


def test_a_viewer_without_a_token_watches_as_a_guest(stage: Stage) -> None:
    async def watch() -> str:
        viewer = Viewer(f"http://{HOST}:{stage.registry.port}", "u1")
        assert await viewer.token() == ""
        running = asyncio.create_task(viewer.run())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not viewer.watcher.snapshots:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        running.cancel()
        return await viewer.token()

    assert stage.assign(asyncio.run(watch())).status == 200


def test_the_document_says_that_a_token_may_be_sent(stage: Stage) -> None:
    operation = json.loads(get(stage.registry.port, "/v1/openapi.json").body)["paths"]["/v1/assignments"]["post"]
    assert {"401", "403"} <= operation["responses"].keys()
    assert operation["security"] == [{"token": []}, {}], "a guest needs none"
