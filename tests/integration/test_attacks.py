"""Attacks on ingest, registry and subscriber: honest viewers are answered meanwhile, and nothing grows or ends."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emostream import model
from emostream.client import http1
from emostream.config import ClustersSettings, KafkaSettings
from emostream.operate import topics
from emostream.runtime.kafka import durable_producer
from emostream_lab.processes.servers import HOST
from tests import attacks
from tests.attacks import Target
from tests.conftest import RunTier, Server, Tier, own_broker
from tests.integration.asking import address, ask, get, metric
from tests.integration.viewers import wait_until
from tests.unit.subscriber.examples import swarm
from tests.unit.tokens.signing import OTHER_SECRET, SECRET, signed

MOST_GROWTH_MIB = 128
PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.1


def token(user: str = "u1", **changes: object) -> str:
    return signed(**{"sub": user, "exp": time.time() + 3_600, "events": ["*"], **changes})


@dataclass
class Stage:
    """The three tiers that viewers reach. They want tokens, and have limits."""

    ingest: Tier
    registry: Tier
    subscriber: Tier

    def tiers(self) -> list[Tier]:
        return [self.ingest, self.registry, self.subscriber]

    def target(self, tier: str) -> Target:
        return Target(HOST, getattr(self, tier).port)

    def answers(self) -> bool:
        """Whether an honest viewer can react, ask for a subscriber, and watch."""
        reaction = model.encode(model.Reaction("x", "🔥", 1))
        posts = {
            self.ingest.port: ("/v1/reactions", reaction, token("honest", may=["relay"]), 202),
            self.registry.port: ("/v1/assignments", b'{"user_id":"x"}', token("honest", may=["watch", "relay"]), 200),
        }
        answered = [
            ask(port, http1.post_json(address(port, path), body, own)).status == status
            for port, (path, body, own, status) in posts.items()
        ]
        trace = get(self.subscriber.port, "/v1/trace?sequence=0", **http1.authorization(token("honest"))).status == 200
        return all(answered) and trace


@dataclass
class Watch:
    """An honest viewer during an attack."""

    stage: Stage
    refused: list[str] = field(default_factory=list)
    answered: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        # The longer an attack lasts, the more seats this viewer asks for. There are enough of them at this pace.
        while not self._is_over.wait(PAUSE_SECONDS):
            try:
                if self.stage.answers():
                    self.answered += 1
                else:
                    self.refused.append("it was refused")
            except OSError as error:
                self.refused.append(repr(error))

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
            seen = self.answered
            wait_until(lambda: self.answered > seen + 1, PATIENCE_SECONDS, lambda: self.refused)
        finally:
            self._is_over.set()
            thread.join()
        assert self.refused == []


@pytest.fixture(scope="module")
def broker(server_dir: Path) -> Iterator[Server]:
    with own_broker(server_dir / "attacks") as broker:
        topics.apply(KafkaSettings(bootstrap_servers=(broker.address,)), ClustersSettings(names=("attacked",)))
        with durable_producer(KafkaSettings(bootstrap_servers=(broker.address,))) as producer:
            producer.send("attacked", model.encode(swarm("s", 0)), partition=0).get(30)
        yield broker


@pytest.fixture
def stage(broker: Server, zookeeper: Server, run_tier: RunTier, tmp_path: Path) -> Stage:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    environment = {
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
        "EMOSTREAM_ZOOKEEPER_ROOT": f"/attacks-{uuid.uuid4().hex[:8]}",
        "EMOSTREAM_TOKENS_SECRET_FILE": str(secret),
        "EMOSTREAM_TOKENS_GUESTS": "true",
        "EMOSTREAM_INGEST_USER_REACTIONS_PER_SECOND": "1",
        "EMOSTREAM_REGISTRY_MAX_PENDING_PER_ADDRESS": "50",
        "EMOSTREAM_REGISTRY_PENDING_SECONDS": "600",
        "EMOSTREAM_SUBSCRIBER_CAPACITY": "5000",
    }
    registry = run_tier("registry", environment=environment)
    subscriber = run_tier("subscriber", "--cluster", "attacked", environment=environment)
    stage = Stage(run_tier("ingest", environment=environment), registry, subscriber)
    wait_until(lambda: json.loads(get(registry.port, "/v1/topology").body)["subscribers"])
    return stage


def peak_mib(tier: Tier) -> int:
    lines = Path(f"/proc/{tier.process.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


@contextmanager
def attacked(stage: Stage) -> Iterator[None]:
    """An attack: honest viewers are answered meanwhile, memory stays bounded, nothing ends and nothing is an error."""
    wait_until(stage.answers)
    before, pids = [peak_mib(tier) for tier in stage.tiers()], [tier.process.pid for tier in stage.tiers()]
    with Watch(stage).watching():
        yield
    grown = [peak_mib(tier) - old for tier, old in zip(stage.tiers(), before, strict=True)]
    assert max(grown) <= MOST_GROWTH_MIB, grown
    assert [tier.process.pid for tier in stage.tiers()] == pids
    for tier in stage.tiers():
        assert tier.process.is_running()
        assert "Traceback" not in tier.process.log_text()


def test_slow_clients_and_floods_of_connects_hold_nobody_up(stage: Stage) -> None:
    with (
        attacked(stage),
        attacks.slow_bodies(stage.target("ingest"), "/v1/reactions", token()),
        attacks.slow_bodies(stage.target("registry"), "/v1/assignments", token()),
        attacks.half_heads(stage.target("ingest")),
        attacks.half_heads(stage.target("subscriber")),
    ):
        for tier in ("ingest", "registry", "subscriber"):
            assert attacks.connect_flood(stage.target(tier), 500)


def test_huge_heads_and_ten_thousand_events_leave_no_trace(stage: Stage) -> None:
    with attacked(stage):
        for tier in ("ingest", "registry", "subscriber"):
            assert set(attacks.huge_heads(stage.target(tier))) <= {0, 400, 431}
        palettes = attacks.with_event_ids(stage.target("ingest"), "/v1/events/{event}/palette", 10_000)
        streams = attacks.with_event_ids(stage.target("subscriber"), "/v1/events/{event}/stream", 1_000)
    assert set(palettes) <= {404, 503}
    assert set(streams) == {401}
    for tier in stage.tiers():
        assert b"attack-" not in get(tier.admin_port, "/metrics").body


def test_bad_frames_and_pings_end_or_slow_their_own_connection_alone(stage: Stage) -> None:
    with attacked(stage):
        target = stage.target("subscriber")
        ended = attacks.bad_frames(target, "/v1/ws", token())
        attacks.ping_flood(target, "/v1/ws", token())
    assert all(ended)


def test_replayed_and_forged_tokens_and_greed_get_nothing(stage: Stage) -> None:
    reaction = model.encode(model.Reaction("x", "🔥", 1))
    bad = [
        token(exp=time.time() - 3_600),
        token(aud="elsewhere"),
        signed(OTHER_SECRET, exp=time.time() + 3_600, events=["*"]),
        "eyJhbGciOiJub25lIn0.e30.",
        "x" * 3_000,
    ]
    with attacked(stage):
        forged = attacks.with_tokens(stage.target("ingest"), "POST /v1/reactions", bad * 100, reaction)
        replayed = attacks.with_tokens(stage.target("ingest"), "POST /v1/reactions", [token("greedy")] * 300, reaction)
        seats = attacks.with_tokens(
            stage.target("registry"), "POST /v1/assignments", [token()] * 100, b'{"user_id":"x"}'
        )
        guests = attacks.with_tokens(stage.target("registry"), "POST /v1/guests", [""] * 100)
    assert forged == Counter({401: 500})
    # A good token may be shown again and again, but its user has a limit.
    assert set(replayed) == {202, 429}
    assert replayed[202] < 250
    assert seats == guests == Counter({200: 50, 429: 50})
    assert metric(stage.ingest.admin_port, 'emostream_tokens_refusals_total{reason="signature"}') >= 100
