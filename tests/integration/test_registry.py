"""The registry follows ZooKeeper live, spreads viewers evenly, and refuses as its OpenAPI document says."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from kazoo.client import KazooClient

from emostream import model
from emostream.client.http1 import Response, post_json
from emostream.errors import EmoStreamError
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import RunTier, Server, start_at_taken_port
from tests.integration.asking import address, ask, ask_all, get, post, unreadiness
from tests.integration.viewers import wait_until

EMOSTREAM = (sys.executable, "-m", "emostream")


@dataclass
class Registry:
    """A running registry, and the ZooKeeper nodes that it watches."""

    process: Process
    port: int
    admin_port: int
    zookeeper: KazooClient
    root: str

    @property
    def url(self) -> str:
        return f"http://{servers.HOST}:{self.port}"

    def register(self, name: str, *, capacity: int = 10, clients: int = 0) -> None:
        """Register a subscriber, or update its figures."""
        content = {"url": f"http://{name}", "capacity": capacity, "clients": clients}
        path, value = f"{self.root}/subscribers/{name}", json.dumps(content).encode()
        if self.zookeeper.exists(path):
            self.zookeeper.set(path, value)
        else:
            self.zookeeper.create(path, value, ephemeral=True, makepath=True)

    def withdraw(self, name: str) -> None:
        self.zookeeper.delete(f"{self.root}/subscribers/{name}")

    def topology(self) -> Any:
        return json.loads(get(self.port, "/v1/topology").body)

    def subscribers(self) -> dict[str, Any]:
        return {subscriber["name"]: subscriber for subscriber in self.topology()["subscribers"]}

    def ask_for_assignment(self, *exclude: str) -> Response:
        return post(self.port, "/v1/assignments", json.dumps({"user_id": "u1", "exclude": exclude}).encode())

    def assign(self, *exclude: str) -> str | None:
        response = self.ask_for_assignment(*exclude)
        return json.loads(response.body)["subscriber"] if response.status == 200 else None


Start = Callable[..., Registry]


@pytest.fixture
def start(zookeeper: Server, run_tier: RunTier) -> Iterator[Start]:
    """Starts a registry and waits until it is ready, or with `wait=False` until it is alive."""
    started: list[Registry] = []

    def make(*, server: Server = zookeeper, wait: bool = True, **settings: object) -> Registry:
        root = f"/registry-{uuid.uuid4().hex[:8]}"
        environment = {
            "EMOSTREAM_ZOOKEEPER_HOSTS": server.address,
            "EMOSTREAM_ZOOKEEPER_ROOT": root,
            "EMOSTREAM_ZOOKEEPER_SESSION_TIMEOUT_MS": "4000",
            **{f"EMOSTREAM_REGISTRY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        tier = run_tier("registry", environment=environment, probe="/readyz" if wait else "/healthz")
        client = KazooClient(server.address, timeout=4, connection_retry={"max_tries": -1, "max_delay": 1})
        client.start_async()
        if wait:
            wait_until(lambda: client.connected)
        started.append(Registry(tier.process, tier.port, tier.admin_port, client, root))
        return started[-1]

    yield make
    for registry in started:
        registry.zookeeper.stop()
        registry.zookeeper.close()
        assert "Traceback" not in registry.process.log_file.read_text(), registry.process.log_tail()


@pytest.fixture
def own_zookeeper(tmp_path: Path) -> Iterator[Server]:
    """A ZooKeeper that the test stops."""
    port = servers.free_port()
    process = servers.zookeeper(tmp_path / "zookeeper", port)
    yield Server(process, port)
    process.stop()


def test_joins_reports_and_leaves_are_seen_live(start: Start) -> None:
    registry = start()
    assert registry.assign() is None
    registry.register("c1/1")
    wait_until(lambda: registry.assign() == "c1/1")
    registry.register("c2/2", clients=1)
    wait_until(lambda: "c2/2" in registry.subscribers())
    registry.register("c1/1", clients=7)
    wait_until(lambda: registry.subscribers()["c1/1"]["clients"] == 7)
    assert registry.assign() == "c2/2"
    assert registry.assign("c2/2") == "c1/1"
    registry.withdraw("c1/1")
    wait_until(lambda: registry.subscribers().keys() == {"c2/2"})
    assert registry.assign("c2/2") is None


def test_the_services_are_seen_too(start: Start) -> None:
    registry = start()
    wait_until(lambda: registry.topology()["services"])
    [own] = registry.topology()["services"]
    assert own == {"tier": "registry", "name": "registry", "leader": False}
    [told] = json.loads(get(registry.admin_port, "/v1/topology").body)["services"]
    assert told == {**own, "name": f"{servers.HOST}:{registry.port}", "url": registry.url}
    live = json.loads(get(registry.admin_port, "/v1/topology/live").body)
    assert [(process["tier"], process["ready"]) for process in live["processes"]] == [("registry", True)]
    assert live["processes"][0]["metrics"]["emostream_registry_stale"] == 0


def test_everybody_sees_the_live_topology_only_where_a_setting_says_so(start: Start) -> None:
    closed, open_ = start(), start(public_live_topology=True)
    assert get(closed.port, "/v1/topology/live").status == 404
    assert json.loads(get(closed.port, "/v1/config").body)["live_topology"] is False
    assert json.loads(get(open_.port, "/v1/config").body)["live_topology"] is True
    wait_until(lambda: json.loads(get(open_.port, "/v1/topology/live").body)["processes"])
    paths = [json.loads(get(each.port, "/v1/openapi.json").body)["paths"].keys() for each in (closed, open_)]
    assert paths[1] - paths[0] == {"/v1/topology/live"}


def test_a_node_that_describes_no_process_is_passed_over(start: Start) -> None:
    registry = start()
    registry.register("c1/1")
    wait_until(lambda: "c1/1" in registry.subscribers())
    registry.zookeeper.set(f"{registry.root}/subscribers/c1/1", b"no JSON")
    wait_until(lambda: not registry.subscribers())
    registry.register("c1/1")
    wait_until(lambda: registry.assign() == "c1/1")


def test_a_stampede_of_300_spreads_evenly(start: Start) -> None:
    registry = start()
    names = [f"c{number % 3}/{number}" for number in range(9)]
    for name in names:
        registry.register(name, capacity=100)
    wait_until(lambda: len(registry.subscribers()) == 9)
    where = address(registry.port, "/v1/assignments")
    answers = ask_all(registry.port, [post_json(where, b'{"user_id": "u%d"}' % number) for number in range(300)])
    counts = Counter(json.loads(answer.body)["subscriber"] for answer in answers)
    assert counts.keys() == set(names)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(subscriber["pending"] == counts[name] for name, subscriber in registry.subscribers().items())


def test_nobody_is_sent_to_a_full_one_until_those_on_their_way_have_had_their_time(start: Start) -> None:
    registry = start(pending_seconds=2)
    registry.register("c1/1", capacity=2)
    wait_until(registry.subscribers)
    assert [registry.assign() for _ in range(3)] == ["c1/1", "c1/1", None]
    refusal = registry.ask_for_assignment()
    assert (refusal.status, refusal.retry_after_seconds) == (503, 2)
    assert "full" in refusal.reason
    wait_until(lambda: registry.assign() == "c1/1")


def test_zookeeper_away_leaves_the_last_view_and_its_return_brings_it_up_to_date(
    start: Start, own_zookeeper: Server
) -> None:
    own_zookeeper.process.start()
    own_zookeeper.process.wait_ready(30)
    registry = start(server=own_zookeeper)
    registry.register("c1/1")
    registry.register("c1/2")
    wait_until(lambda: len(registry.subscribers()) == 2)
    assert registry.topology()["stale_since"] is None

    own_zookeeper.process.stop()
    wait_until(lambda: registry.topology()["stale_since"] is not None)
    since = registry.topology()["stale_since"]
    assert not unreadiness(registry.admin_port)
    assert {registry.assign(), registry.assign()} == {"c1/1", "c1/2"}
    assert registry.topology()["stale_since"] == since

    own_zookeeper.process.start()
    own_zookeeper.process.wait_ready(30)
    wait_until(lambda: registry.topology()["stale_since"] is None)
    registry.register("c1/3")
    if registry.zookeeper.exists(f"{registry.root}/subscribers/c1/2"):
        registry.withdraw("c1/2")
    wait_until(lambda: "c1/3" in registry.subscribers() and "c1/2" not in registry.subscribers())


def test_it_starts_without_zookeeper_and_ends_without_it(start: Start, own_zookeeper: Server) -> None:
    registry = start(server=own_zookeeper, wait=False)
    assert "no ZooKeeper" in unreadiness(registry.admin_port)
    refusal = registry.ask_for_assignment()
    assert (refusal.status, refusal.retry_after_seconds) == (503, 2)
    assert registry.topology()["stale_since"] is not None
    registry.process.terminate()
    wait_until(lambda: not registry.process.is_running())
    assert registry.process.exit_status == 0

    second = start(server=own_zookeeper, wait=False)
    own_zookeeper.process.start()
    own_zookeeper.process.wait_ready(30)
    wait_until(lambda: not unreadiness(second.admin_port))


@pytest.fixture(scope="module")
def steady(zookeeper: Server, server_dir: Path) -> Iterator[int]:
    """The port of a registry for requests only, with one large subscriber."""
    port, admin_port, root = servers.free_port(), servers.free_port(), f"/registry-{uuid.uuid4().hex[:8]}"
    process = Process(
        "registry",
        [*EMOSTREAM, "registry", "--port", str(port), "--admin-port", str(admin_port)],
        log_file=server_dir / "registry.log",
        environment={
            "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address,
            "EMOSTREAM_ZOOKEEPER_ROOT": root,
            "EMOSTREAM_REGISTRY_INGEST_URL": "http://ingest:8000",
            "EMOSTREAM_REGISTRY_CORS_ORIGINS": "http://page",
        },
        probe=lambda: not unreadiness(admin_port),
    )
    client = KazooClient(zookeeper.address)
    client.start()
    content = {"url": "https://edge", "capacity": 1_000_000, "clients": 0}
    client.create(f"{root}/subscribers/c1/1", json.dumps(content).encode(), makepath=True)
    process.start()
    process.wait_ready(30)
    wait_until(lambda: json.loads(get(port, "/v1/topology").body)["subscribers"])
    yield port
    process.stop()
    client.stop()
    client.close()


def test_an_assignment_names_the_addresses(steady: int) -> None:
    answer = post(steady, "/v1/assignments", b'{"user_id": "u1", "more": "ignored"}')
    assert model.Assignment(**json.loads(answer.body)) == model.Assignment(
        "c1/1", "c1", "https://edge/v1/stream", "wss://edge/v1/ws"
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"user_id": "\xff"}', 400),
        (b"[" * 50_000, 400),
        (b'{"user_id": "\\ud800"}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"user_id": 7}', 422),
        (b'{"user_id": ""}', 422),
        (b'{"user_id": "%s"}' % (b"x" * 65), 422),
        (b'{"user_id": "\\u0000"}', 422),
        (b'{"user_id": "u1", "exclude": "c1/1"}', 422),
        (b'{"user_id": "u1", "exclude": [7]}', 422),
        (b'{"user_id": "u1", "exclude": [%s"a"]}' % (b'"a",' * 64), 422),
        (b'{"user_id": "%s"}' % (b"x" * 70_000), 413),
    ],
)
def test_a_bad_request_is_refused_with_a_problem(steady: int, body: bytes, status: int) -> None:
    answer = post(steady, "/v1/assignments", body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(answer.body)["detail"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"GET", b"/v1/nothing", 404),
        (b"GET", b"/v1/assignments", 405),
        (b"POST", b"/v1/topology", 405),
        (b"POST", b"/v1/assignments", 415),
        (b"GET", b"/static/nothing.js", 404),
        (b"GET", b"/static/__init__.py", 404),
        (b"GET", b"/static/..%2f__init__.py", 404),
        (b"GET", b"/static/../../README.md", 404),
    ],
)
def test_what_is_not_there_is_refused_with_a_problem(steady: int, method: bytes, target: bytes, status: int) -> None:
    answer = ask(steady, b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % (method, target))
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("target", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/emostream-reactions.js", "text/javascript; charset=utf-8"),
        ("/static/emostream.js", "text/javascript; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/favicon.svg", "image/svg+xml; charset=utf-8"),
    ],
)
def test_the_page_is_served_and_revalidated(steady: int, target: str, content_type: str) -> None:
    first = get(steady, target)
    assert (first.status, first.headers["content-type"]) == (200, content_type)
    assert first.headers["cache-control"] == "no-cache"
    assert first.body
    second = get(steady, target, If_None_Match=first.headers["etag"])
    assert (second.status, second.body) == (304, b"")


def test_the_page_learns_where_to_send_and_other_pages_may_ask(steady: int) -> None:
    answer = get(steady, "/v1/config", Origin="http://page")
    assert json.loads(answer.body) == {"ingest_url": "http://ingest:8000", "live_topology": False}
    assert answer.headers["access-control-allow-origin"] == "http://page"
    stranger = get(steady, "/v1/config", Origin="http://stranger")
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis' own
def test_the_api_is_what_its_document_says(steady: int) -> None:
    schema = schemathesis.openapi.from_url(f"http://{servers.HOST}:{steady}/v1/openapi.json")
    for operation in schema.get_all_operations():

        @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
        @given(case=operation.ok().as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate(timeout=30)

        check()


def test_status_shows_the_topology_and_fails_where_something_is_missing(start: Start) -> None:
    registry = start()
    registry.register("c1/1")
    wait_until(registry.subscribers)
    admin_url = f"http://{servers.HOST}:{registry.admin_port}"
    command = [*EMOSTREAM, "status", "--registry-admin-url", admin_url]
    environment = {**os.environ, "EMOSTREAM_CLUSTERS_NAMES": "c1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "c1/1" in ran.stdout
    assert "No publisher leads for c1" in ran.stdout
    assert "No subscriber" not in ran.stdout
    assert f"registry    {servers.HOST}:{registry.port}" in ran.stdout
    public = [*EMOSTREAM, "status", "--registry-url", registry.url]
    told = subprocess.run(public, env=environment, capture_output=True, text=True, check=False)
    assert (told.returncode, "c1/1" in told.stdout, str(registry.port) in told.stdout) == (1, True, False)


def test_a_second_registry_ends_at_once_where_the_port_is_taken(start: Start) -> None:
    registry = start()
    start_at_taken_port(registry.port, "registry", environment={})


def test_bodies_that_are_being_received_share_a_budget(start: Start) -> None:
    registry = start(max_receiving_bytes=128 << 10)
    body_bytes = 60_000
    head = b"POST /v1/assignments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with contextlib.ExitStack() as cleanup:
        slow = [cleanup.enter_context(socket.create_connection((servers.HOST, registry.port))) for _ in range(2)]
        for connection in slow:
            connection.sendall(head % body_bytes + b" " * (body_bytes - 1))
        answered = select.select(slow, [], [], 30)[0]
        assert any(b" 503 " in connection.recv(4_096) for connection in answered)
        assert "subscriber" in registry.ask_for_assignment().reason


def test_more_connections_than_open_files_are_refused(start: Start) -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_REGISTRY_MAX_CONNECTIONS"):
        start(max_connections=2_000_000_000)


def test_sigterm_ends_it_well(start: Start) -> None:
    registry = start()
    registry.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not registry.process.is_running())
    assert registry.process.exit_status == 0


def test_one_address_does_not_reserve_every_seat(start: Start) -> None:
    registry = start(max_pending_per_address=3, pending_seconds=600, trusted_proxies=f"{servers.HOST}/32")
    registry.register("c1/1", capacity=100)
    wait_until(registry.subscribers)

    def ask_as(address_of_viewer: str) -> Response:
        request = post_json(address(registry.port, "/v1/assignments"), b'{"user_id": "u1"}')
        head, _, body = request.partition(b"\r\n\r\n")
        return ask(registry.port, head + f"\r\nX-Forwarded-For: {address_of_viewer}\r\n\r\n".encode() + body)

    assert [ask_as("192.0.2.1").status for _ in range(4)] == [200, 200, 200, 429]
    refused = ask_as("192.0.2.1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.retry_after_seconds == 2
    # An address that the viewer makes up is not believed.
    assert ask_as("192.0.2.9, 192.0.2.1").status == 429
    assert ask_as("192.0.2.2").status == 200
