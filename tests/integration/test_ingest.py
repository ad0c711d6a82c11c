"""Ingest's answers are true on a real broker, whatever happens to it: 202 is in Kafka once, and 503 is not."""

import contextlib
import http.client
import json
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kazoo.client import KazooClient

from emostream import palette
from emostream.client import http1
from emostream.config import ClustersSettings, KafkaSettings
from emostream.errors import EmoStreamError
from emostream.model import COUNTS_HEADER, REACTIONS_TOPIC
from emostream.operate import topics
from emostream.runtime.kafka import log_reader, records_until
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, own_broker, start_at_taken_port
from tests.integration.viewers import wait_until
from tests.unit.tokens.signing import SECRET, signed

DEADLINE_MS = 1_500


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Ingest:
    """A running ingest, and requests to it."""

    process: Process
    port: int
    admin_port: int

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        token: str | None = None,
    ) -> Answer:
        return self._ask(self.port, method, path, body, content_type, token)

    def ask_admin(self, path: str) -> Answer:
        return self._ask(self.admin_port, "GET", path)

    @staticmethod
    def _ask(  # noqa: PLR0917
        port: int,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        token: str | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(servers.HOST, port, timeout=20)
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            connection.request(method, path, body, headers | http1.authorization(token))
            response = connection.getresponse()
            content = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(
                response.status, headers, json.loads(content) if "json" in headers["content-type"] else content
            )
        finally:
            connection.close()

    def post(self, *users: str, token: str | None = None) -> Answer:
        """One request with a reaction of each of these users."""
        return self.ask("POST", "/v1/reactions", body_of(*users), token=token)

    def post_together(self, users: list[str]) -> list[Answer]:
        """A request of each of these users, all at once."""
        with ThreadPoolExecutor(len(users)) as pool:
            return list(pool.map(self.post, users))

    def reasons(self) -> dict[str, str]:
        """Why it is not ready; empty when it is."""
        answer = self.ask_admin("/readyz")
        return {} if answer.status == 200 else answer.body["reasons"]

    def metric(self, name: str) -> float:
        lines = self.ask_admin("/metrics").body.decode().splitlines()
        (value,) = [line.split()[-1] for line in lines if line.startswith(f"emostream_ingest_{name} ")]
        return float(value)


def body_of(*users: str) -> bytes:
    reactions = [{"user_id": user, "emoji_type": "🔥", "timestamp": 1_732_370_000_123} for user in users]
    return json.dumps(reactions[0] if len(reactions) == 1 else reactions).encode()


def new_user() -> str:
    return uuid.uuid4().hex


def new_users(number: int) -> list[str]:
    return [new_user() for _ in range(number)]


@pytest.fixture(scope="module")
def broker(server_dir: Path) -> Iterator[Server]:
    """A broker with a ZooKeeper of its own: it is stopped and killed here."""
    with own_broker(server_dir / "ingest") as broker:
        topics.apply(KafkaSettings(bootstrap_servers=(broker.address,)), ClustersSettings())
        yield broker


Start = Callable[..., Ingest]


@contextmanager
def running(directory: Path, **environment: str) -> Iterator[Ingest]:
    """An ingest that was started; it may not be ready."""
    port, admin_port = servers.free_port(), servers.free_port()
    ingest = Ingest(
        Process(
            f"ingest {port}",
            [sys.executable, "-m", "emostream", "ingest", "--port", str(port), "--admin-port", str(admin_port)],
            log_file=directory / f"ingest-{port}.log",
            environment={"EMOSTREAM_INGEST_DEADLINE_MS": str(DEADLINE_MS), **environment},
            probe=lambda: ingest.ask_admin("/readyz").status == 200,
        ),
        port,
        admin_port,
    )
    ingest.process.start()
    try:
        yield ingest
    finally:
        ingest.process.stop()
    lines = ingest.process.log_text().splitlines()
    # kafka-python logs a traceback for each connection that it loses.
    assert not [line for line in lines if "Traceback" in line and '"logger": "kafka.' not in line]


@pytest.fixture
def start(broker: Server, zookeeper: Server, tmp_path: Path) -> Iterator[Start]:
    """Starts an ingest and waits until it is ready; keyword arguments are its settings."""
    with ExitStack() as started:

        def make(
            *, wait: bool = True, brokers: str = broker.address, secret: Path | None = None, **settings: object
        ) -> Ingest:
            ingest = started.enter_context(
                running(
                    tmp_path,
                    EMOSTREAM_TOKENS_SECRET_FILE=str(secret or ""),
                    EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS=brokers,
                    EMOSTREAM_ZOOKEEPER_HOSTS=zookeeper.address,
                    **{f"EMOSTREAM_INGEST_{name.upper()}": str(value) for name, value in settings.items()},
                )
            )
            if wait:
                ingest.process.wait_ready(30)
            return ingest

        yield make


@pytest.fixture(scope="module")
def steady(broker: Server, zookeeper: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    """One ingest for all tests that change neither it nor Kafka."""
    environment = {"EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.address, "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address}
    with running(tmp_path_factory.mktemp("steady"), **environment) as ingest:
        ingest.process.wait_ready(30)
        yield ingest


@pytest.fixture
def pause(broker: Server) -> Iterator[Callable[[bool], None]]:
    """Stops the broker's process with SIGSTOP, or continues it. It is continued at the end."""

    def set_paused(is_paused: bool) -> None:
        broker.process.send_signal(signal.SIGSTOP if is_paused else signal.SIGCONT)

    yield set_paused
    set_paused(False)


def records(broker: Server) -> list[tuple[int, int, list[dict[str, Any]]]]:
    """Partition, offset and reactions of every record of `reactions`."""
    found = []
    with log_reader((broker.address,), 2 << 20) as reader:
        for number in reader.partitions_for_topic(REACTIONS_TOPIC):
            partition = TopicPartition(REACTIONS_TOPIC, number)
            reader.assign([partition])
            end = reader.end_offsets([partition])[partition]
            for record in records_until(reader, partition, 0, end, 30):
                reactions = json.loads(record.value)
                counts = json.loads(dict(record.headers)[COUNTS_HEADER])
                assert counts == Counter(reaction["emoji_type"] for reaction in reactions)
                found.append((number, record.offset, reactions))
    return found


def times_stored(broker: Server) -> Counter[str]:
    """How often each user's reaction is in Kafka."""
    return Counter(reaction["user_id"] for *_, reactions in records(broker) for reaction in reactions)


def test_accepted_means_in_kafka_where_the_answer_says(steady: Ingest, broker: Server) -> None:
    body = '[{"user_id": "zoë", "emoji_type": "❤", "timestamp": 5, "mood": 1}, ' + body_of("x").decode() + "]"
    accepted_before = steady.metric('reactions_accepted_total{event="main"}')
    answer = steady.ask("POST", "/v1/reactions", body.encode())
    assert answer.status == 202
    assert answer.body["accepted"] == 2
    place = answer.body["record"]
    assert abs(place["timestamp"] - time.time() * 1000) < 60_000
    by_place = {(partition, offset): reactions for partition, offset, reactions in records(broker)}
    assert by_place[place["partition"], place["offset"]] == [
        {"user_id": "zoë", "emoji_type": "❤️", "timestamp": 5},
        {"user_id": "x", "emoji_type": "🔥", "timestamp": 1_732_370_000_123},
    ]
    assert steady.metric('reactions_accepted_total{event="main"}') == accepted_before + 2


def test_requests_that_come_together_share_a_record(start: Start, broker: Server) -> None:
    ingest = start(linger_ms=500)
    users = new_users(12)
    answers = ingest.post_together(users)
    assert {answer.status for answer in answers} == {202}
    places = {(answer.body["record"]["partition"], answer.body["record"]["offset"]) for answer in answers}
    assert len(places) < len(users) / 2
    stored = times_stored(broker)
    assert [stored[user] for user in users] == [1] * len(users)


def test_a_group_is_closed_by_its_size_before_its_time(start: Start) -> None:
    # Each request fills a group, so none waits for the linger, which is longer than the answer may take.
    ingest = start(linger_ms=1_000, max_group_bytes=1_024, deadline_ms=900)
    assert ingest.post(*new_users(20)).status == 202


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (415, body_of("u"), "text/plain"),
        (415, body_of("u"), ""),
        (400, b"{", "application/json"),
        (400, b"[" * 100_000, "application/json"),
        (400, body_of("u").replace(b'"u"', b'"\xff"'), "application/json"),
        (413, b" " * (2 << 20), "application/json"),
        (422, b"[]", "application/json"),
        (422, body_of(*["u"] * 1_001), "application/json"),
        (422, body_of("u").replace(b"1732370000123", b"true"), "application/json"),
        (422, body_of("u").replace(b"1732370000123", b"1e308"), "application/json"),
    ],
)
def test_what_is_refused(steady: Ingest, status: int, body: bytes, content_type: str) -> None:
    answer = steady.ask("POST", "/v1/reactions", body, content_type)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["detail"]


def test_slow_senders_of_large_bodies_leave_the_host_its_memory(start: Start) -> None:
    ingest = start(body_timeout_ms=60_000)
    body_bytes, senders, peak_mib = 1 << 20, 300, 192
    head = b"POST /v1/reactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    slow = [socket.create_connection((servers.HOST, ingest.port), timeout=30) for _ in range(senders)]
    for connection in slow:
        # A refused client may be cut off while it sends.
        with contextlib.suppress(ConnectionError):
            connection.sendall(head % body_bytes + b" " * (body_bytes - 1))
    assert ingest.ask("GET", "/healthz").status == 200
    assert ingest.post(new_user()).status == 202
    wait_until(lambda: any(b" 503 " in _come(connection) for connection in slow))
    for connection in slow:
        connection.close()
    status = Path(f"/proc/{ingest.process.pid}/status").read_text(encoding="utf-8")
    [peak_kib] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak_kib >> 10 <= peak_mib


def _come(connection: socket.socket) -> bytes:
    """What the other side has sent so far, without consuming it; empty if it cut the connection."""
    with contextlib.suppress(OSError):
        return connection.recv(4_096, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    return b""


def test_more_connections_than_open_files_are_refused(start: Start) -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_INGEST_MAX_CONNECTIONS"):
        start(max_connections=2_000_000_000)


def test_the_palette_is_shown_in_order(steady: Ingest) -> None:
    answer = steady.ask("GET", "/v1/palette")
    assert answer.body == {"emoji": list(palette.DEFAULT), "any": False}


def test_any_emoji_is_taken_when_the_palette_says_so(start: Start) -> None:
    ingest = start(palette="any")
    for emoji in ("🦄", "👩🏽‍🚀", "🇮🇳", "1⃣"):
        body = json.dumps({"user_id": "u", "emoji_type": emoji, "timestamp": 1}).encode()
        assert ingest.ask("POST", "/v1/reactions", body).status == 202


def test_it_registers_itself_and_is_gone_when_it_ends(start: Start, zookeeper: Server) -> None:
    ingest = start()
    path = f"/emostream/services/ingest/{servers.HOST}:{ingest.port}"
    observer = KazooClient(zookeeper.address)
    observer.start()
    try:
        wait_until(lambda: observer.exists(path))
        url = f"http://{servers.HOST}:{ingest.port}"
        registered = json.loads(observer.get(path)[0])
        assert registered.pop("process")
        admin_url = f"http://{servers.HOST}:{ingest.admin_port}"
        expected = {"url": url, "admin_url": admin_url, "leader": False, "events": 0, "closed": {}}
        assert registered == expected
        # A second process at this address ends before it registers itself.
        made = observer.get(path)[1]
        start_at_taken_port(ingest.port, "ingest", environment={"EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper.address})
        assert observer.get(path)[1] == made
        ingest.process.stop()
        wait_until(lambda: not observer.exists(path))
    finally:
        observer.stop()
        observer.close()


def test_it_does_what_its_document_says(steady: Ingest) -> None:
    """Requests made up from the OpenAPI document, valid and invalid, get only answers that it describes."""
    base_url = f"http://{servers.HOST}:{steady.port}"
    schema = schemathesis.openapi.from_url(f"{base_url}/v1/openapi.json")
    quick = hypothesis_settings(
        max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = [schemathesis.GenerationMode.POSITIVE]
        if operation.body:
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:

            @quick
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                case.body = without_fractions(case.body)
                case.call_and_validate(base_url=base_url)

            check()


def without_fractions(body: Any) -> Any:
    """JSON Schema accepts 5.0 as an integer. Ingest requires 5, as its document says."""
    if isinstance(body, list):
        return [without_fractions(item) for item in body]
    if isinstance(body, dict):
        return {name: without_fractions(value) for name, value in body.items()}
    return int(body) if isinstance(body, float) and body.is_integer() else body


def test_a_stopped_broker_means_504_then_503_and_nothing_is_lost_or_doubled(
    start: Start, broker: Server, pause: Callable[[bool], None]
) -> None:
    ingest = start()
    before, during, after = new_users(5), new_users(5), new_users(5)
    assert {answer.status for answer in ingest.post_together(before)} == {202}
    pause(True)
    assert {answer.status for answer in ingest.post_together(during)} == {504}
    began = time.monotonic()
    refused = ingest.post(new_user())
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert time.monotonic() - began < 1
    wait_until(lambda: "a record waits" in ingest.reasons().get("kafka", ""))
    assert ingest.metric("requests_in_flight") == len(during)
    pause(False)
    wait_until(lambda: not ingest.reasons())
    assert {answer.status for answer in ingest.post_together(after)} == {202}
    stored = times_stored(broker)
    # After a 504 the outcome is unknown. Here the record was delivered when the broker continued.
    assert [stored[user] for user in (*before, *during, *after)] == [1] * 15
    assert ingest.metric("requests_in_flight") == 0


def test_it_is_not_ready_while_kafka_is_away_although_nobody_sends(start: Start, pause: Callable[[bool], None]) -> None:
    ingest = start()
    pause(True)
    wait_until(lambda: "Kafka does not answer" in ingest.reasons().get("kafka", ""))
    pause(False)
    wait_until(lambda: not ingest.reasons())


@pytest.mark.parametrize("bound", [{"max_requests_in_flight": 3}, {"max_bytes_in_flight": 1 << 20}])
def test_at_the_bound_a_request_is_refused_at_once(
    start: Start, broker: Server, pause: Callable[[bool], None], bound: dict[str, int]
) -> None:
    ingest = start(deadline_ms=10_000, **bound)
    users = new_users(3)
    large = [body_of(user, *["x" * 64] * 999) for user in users] * 4
    bodies = large if "max_bytes_in_flight" in bound else [body_of(user) for user in users]
    pause(True)
    with ThreadPoolExecutor(len(bodies)) as pool:
        waiting = [pool.submit(ingest.ask, "POST", "/v1/reactions", body) for body in bodies]
        wait_until(lambda: "accepting" in ingest.reasons())
        late = new_user()
        assert ingest.post(late).status == 503
        # This request was not refused with the others.
        assert not all(answer.done() for answer in waiting)
        assert ingest.ask("GET", "/healthz").status == 200
        pause(False)
        statuses = {answer.result().status for answer in waiting}
    assert 202 in statuses
    assert statuses <= {202, 503}
    wait_until(lambda: not ingest.reasons())
    assert times_stored(broker)[late] == 0


def test_a_record_that_the_broker_refuses_is_never_called_not_accepted_and_the_next_ones_pass(
    start: Start, broker: Server
) -> None:
    ingest = start()
    with topic_setting(broker, "max.message.bytes", 2_000, afterwards=2 << 20):
        wait_until(lambda: ingest.post(*new_users(100)).status == 504)
    users = new_users(5)
    wait_until(lambda: ingest.post(new_user()).status == 202)
    assert {answer.status for answer in ingest.post_together(users)} == {202}
    assert ingest.metric("producers_replaced_total") == 1
    wait_until(lambda: ingest.metric("requests_in_flight") == 0)
    stored = times_stored(broker)
    assert [stored[user] for user in users] == [1] * len(users)


@contextmanager
def topic_setting(broker: Server, name: str, meanwhile: int, afterwards: int) -> Iterator[None]:
    """A setting of the topic, which the broker applies after a moment."""
    with KafkaAdminClient(bootstrap_servers=broker.address) as admin:

        def change(value: int) -> None:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, REACTIONS_TOPIC, {name: str(value)})])

        change(meanwhile)
        try:
            yield
        finally:
            change(afterwards)


def test_a_record_that_is_sent_again_is_in_kafka_once(
    start: Start, broker: Server, pause: Callable[[bool], None]
) -> None:
    ingest = start(deadline_ms=60_000)
    users = new_users(5)
    pause(True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ingest.post_together, users)
        # The producer gives up the request, whose bytes the broker has, and tries again.
        wait_until(lambda: "timed out" in ingest.process.log_text(), 30)
        pause(False)
        assert {answer.status for answer in waiting.result()} == {202}
    stored = times_stored(broker)
    assert [stored[user] for user in users] == [1] * len(users)


def test_a_killed_broker_loses_and_doubles_nothing_of_what_was_accepted(start: Start, broker: Server) -> None:
    ingest = start()
    answers: dict[str, int] = {}
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            user = new_user()
            answers[user] = ingest.post(user).status
            if answers[user] != 202:
                is_over.wait(0.1)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(answers) > 200)
        broker.process.send_signal(signal.SIGKILL)
        wait_until(lambda: 503 in list(answers.values()), 30)
        wait_until(broker.is_back, 150)
        wait_until(lambda: not ingest.reasons(), 90)
        count = len(answers)
        wait_until(lambda: len(answers) > count + 200)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    stored = times_stored(broker)
    assert set(answers.values()) <= {202, 503, 504}
    assert {stored[user] for user, status in answers.items() if status == 202} == {1}
    assert {stored[user] for user, status in answers.items() if status == 503} == {0}
    assert {stored[user] for user, status in answers.items() if status == 504} <= {0, 1}


def test_told_to_stop_it_answers_what_is_in_flight_and_refuses_the_rest(
    start: Start, broker: Server, pause: Callable[[bool], None]
) -> None:
    ingest = start(deadline_ms=10_000)
    in_flight = new_users(3)
    pause(True)
    with ThreadPoolExecutor(len(in_flight)) as pool:
        waiting = [pool.submit(ingest.post, user) for user in in_flight]
        wait_until(lambda: ingest.metric("requests_in_flight") == len(in_flight))
        ingest.process.terminate()
        wait_until(lambda: "draining" in ingest.reasons().get("accepting", ""))
        late = new_user()
        assert ingest.post(late).status == 503
        pause(False)
        assert {answer.result().status for answer in waiting} == {202}
    wait_until(lambda: not ingest.process.is_running())
    assert ingest.process.exit_status == 0
    stored = times_stored(broker)
    assert [stored[user] for user in (*in_flight, late)] == [1, 1, 1, 0]


def test_a_drain_gives_up_in_time_and_says_that_the_outcome_is_unknown(
    start: Start, pause: Callable[[bool], None]
) -> None:
    ingest = start(deadline_ms=10_000, drain_timeout_ms=500)
    pause(True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ingest.post, new_user())
        wait_until(lambda: ingest.metric("requests_in_flight") == 1)
        ingest.process.terminate()
        assert waiting.result().status == 504
    wait_until(lambda: not ingest.process.is_running(), 10)
    assert ingest.process.exit_status == 0


def test_it_starts_without_kafka_says_so_and_ends_when_told(start: Start) -> None:
    ingest = start(wait=False, brokers=f"{servers.HOST}:{servers.free_port()}")
    wait_until(lambda: is_alive(ingest))
    assert "no broker of" in ingest.reasons()["kafka"]
    assert ingest.post(new_user()).status == 503
    ingest.process.terminate()
    wait_until(lambda: not ingest.process.is_running(), 10)
    assert ingest.process.exit_status == 0


def is_alive(ingest: Ingest) -> bool:
    try:
        return ingest.ask("GET", "/healthz").status == 200
    except ConnectionRefusedError:
        return False


def token(user: str = "u1", **changes: Any) -> str:
    return signed(**{"sub": user, "exp": time.time() + 600, "events": ["main"], **changes})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    return file


def test_the_token_says_who_reacts(start: Start, broker: Server, secret: Path) -> None:
    ingest = start(secret=secret)
    user, other, third = new_users(3)
    assert ingest.post(other, token=token(user)).status == 202
    # A server that relays names its users itself.
    assert ingest.post(other, third, token=token("server", may=["relay"])).status == 202
    stored = times_stored(broker)
    assert [stored[each] for each in (user, other, third, "server")] == [1, 1, 1, 0]


def test_without_a_token_that_lets_react_nothing_is_taken(start: Start, broker: Server, secret: Path) -> None:
    ingest = start(secret=secret)
    user = new_user()
    for wrong, status in (
        (None, 401),
        ("junk", 401),
        (token(user, exp=time.time() - 60), 401),
        (token(user, may=["watch"]), 403),
        (token(user, events=["final"]), 403),
    ):
        refused = ingest.post(user, token=wrong)
        assert refused.status == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"].startswith("Bearer")
    # Whether there is such an event is no business of who may not react to it.
    event = ingest.ask("POST", "/v1/events/final/reactions", body_of(user), token=token(user))
    assert event.status == 403
    assert ingest.ask("GET", "/v1/palette").status == 200
    assert times_stored(broker)[user] == 0


def test_the_document_says_that_a_token_is_needed(start: Start, secret: Path) -> None:
    document = start(secret=secret).ask("GET", "/v1/openapi.json").body
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path in ("/v1/reactions", "/v1/events/{event}/reactions"):
        operation = document["paths"][path]["post"]
        assert operation["security"] == [{"token": []}]
        assert {"401", "403", "429"} <= operation["responses"].keys()
    assert "security" not in document["paths"]["/v1/palette"]["get"]


def test_a_user_who_sends_too_many_is_told_when_to_come_again(start: Start, broker: Server, secret: Path) -> None:
    ingest = start(secret=secret, user_reactions_per_second=0.01, user_burst_reactions=3)
    user, other = new_users(2)
    assert ingest.post(user, user, token=token(user)).status == 202
    refused = ingest.post(user, user, token=token(user))
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert ingest.post(user, token=token(user)).status == 202
    assert ingest.post(other, token=token(other)).status == 202
    assert ingest.post(*[user] * 9, token=token("server", may=["relay"])).status == 202
    assert ingest.metric("reactions_limited_total") == 2
    assert times_stored(broker)[user] == 3 + 9
