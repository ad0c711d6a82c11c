"""A subscriber on real Kafka and ZooKeeper: what viewers get, whatever happens around it."""

import asyncio
import gc
import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_websocket

from emostream import model
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.runtime.kafka import durable_producer
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server
from tests.integration.viewers import Connection, get, wait_until
from tests.unit.subscriber.examples import swarm

pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


@dataclass
class Cluster:
    """A cluster's topic, and a stream of swarms that is written to it."""

    name: str
    producer: KafkaProducer
    stream: str = "s"

    def write(self, *sequences: int, stream: str = "") -> None:
        """Write these swarms to the topic. Returns when Kafka has them."""
        for sequence in sequences:
            value = model.encode(swarm(stream or self.stream, sequence))
            headers = [("swarms-offset", b"%d" % sequence), ("swarms-timestamp", b"1234")]
            self.producer.send(self.name, value, headers=headers, partition=0)
        self.producer.flush(30)

    def write_raw(self, value: bytes) -> None:
        self.producer.send(self.name, value, partition=0).get(30)


@dataclass
class Subscriber:
    """A running subscriber."""

    process: Process
    port: int
    admin_port: int
    cluster: str
    registered: Callable[[], dict[str, Any] | None]
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"ws://{servers.HOST}:{self.port}/v1/ws"

    def watch(self, last_id: str | None = None, *headers: str) -> Connection:
        resume = (f"Last-Event-ID: {last_id}",) if last_id is not None else ()
        return Connection(self.port, "/v1/stream", headers=(*resume, *headers))

    def is_ready(self) -> bool:
        return get(self.port, "/readyz").status == 200

    def reason(self) -> str:
        answer = get(self.admin_port, "/readyz")
        return "" if answer.status == 200 else answer.json()["detail"]

    def metric(self, name: str) -> float:
        lines = get(self.admin_port, "/metrics").body.decode().splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith(f"emostream_subscriber_{name}")]
        assert values, name
        return sum(values)


def unexpected(log_file: Path) -> list[str]:
    """Log lines of uncaught errors. kafka-python logs a traceback for each lost connection, which does not count."""
    lines = [line for line in log_file.read_text().splitlines() if "Traceback" in line]
    return [line for line in lines if '"logger": "kafka.' not in line]


NewCluster = Callable[..., Cluster]
Start = Callable[..., Subscriber]


@pytest.fixture
def new_cluster(kafka: Server) -> Iterator[Callable[..., Cluster]]:
    settings = KafkaSettings(bootstrap_servers=(kafka.address,))
    with durable_producer(settings) as producer, KafkaAdminClient(bootstrap_servers=kafka.address) as admin:

        def make(*sequences: int) -> Cluster:
            name = f"cluster-{uuid.uuid4().hex[:8]}"
            admin.create_topics([NewTopic(name, 1, 1)])
            cluster = Cluster(name, producer)
            cluster.write(*sequences)
            return cluster

        yield make
    # kafka-python leaves the sockets of refused connections to the garbage collector, which may warn here.
    gc.collect()


@pytest.fixture
def observer(zookeeper: Server) -> Iterator[KazooClient]:
    client = KazooClient(zookeeper.address)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def start(
    kafka: Server, zookeeper: Server, observer: KazooClient, tmp_path: Path
) -> Iterator[Callable[..., Subscriber]]:
    """Starts a subscriber and waits until it is ready; keyword arguments are its settings."""
    root = f"/subscriber-{uuid.uuid4().hex[:8]}"
    started = []

    def make(
        cluster: str, *, wait: bool = True, zookeeper_address: str = zookeeper.address, **settings: object
    ) -> Subscriber:
        port, admin_port = servers.free_port(), servers.free_port()
        path = f"{root}/subscribers/{cluster}/{port}"

        def registered() -> dict[str, Any] | None:
            try:
                return {name: value for name, value in json.loads(observer.get(path)[0]).items() if name != "process"}
            except NoNodeError:
                return None

        process = Process(
            f"subscriber {port}",
            [
                *(sys.executable, "-m", "emostream", "subscriber", "--cluster", cluster),
                *("--port", str(port), "--admin-port", str(admin_port)),
            ],
            log_file=tmp_path / f"subscriber-{port}.log",
            environment={
                "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka.address,
                "EMOSTREAM_ZOOKEEPER_HOSTS": zookeeper_address,
                "EMOSTREAM_ZOOKEEPER_ROOT": root,
                "EMOSTREAM_ZOOKEEPER_SESSION_TIMEOUT_MS": "4000",
                **{f"EMOSTREAM_SUBSCRIBER_{name.upper()}": str(value) for name, value in settings.items()},
            },
            probe=lambda: get(port, "/readyz" if wait else "/healthz").status == 200,
        )
        process.start()
        started.append(process)
        process.wait_ready(30)
        return Subscriber(process, port, admin_port, cluster, registered)

    yield make
    for process in started:
        process.stop()
        assert not unexpected(process.log_file), process.log_tail()


def test_a_new_viewer_gets_a_snapshot_and_each_swarm_by_sse(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1, 2)
    with start(cluster.name).watch() as viewer:
        viewer.wait_for("snapshot s-2")
        cluster.write(3, 4)
        assert viewer.wait_for("swarm s-4") == ["snapshot s-2", "swarm s-3", "swarm s-4"]
        snapshot, first, _ = viewer.messages()
        assert isinstance(snapshot, model.Snapshot)
        assert snapshot.totals == {"🔥": 6, "👏": 7}
        assert first == swarm("s", 3).for_viewers()
        head = viewer.head.lower()
        assert "content-type: text/event-stream" in head
        assert "cache-control: no-store" in head
        assert "x-accel-buffering: no" in head
        assert "access-control-allow-origin: *" in head
        assert b"event: swarm\nid: s-3\ndata: {" in viewer.body
        assert 1_000 <= int(viewer.body.partition(b"retry: ")[2].split()[0]) <= 3_000


@pytest.mark.parametrize(("compression", "kind"), [(None, "ws"), ("deflate", "ws_deflate")])
def test_the_same_by_websocket_with_pings_and_a_close(
    new_cluster: NewCluster, start: Start, compression: str | None, kind: str
) -> None:
    cluster = new_cluster(1, 2)
    subscriber = start(cluster.name)
    with connect_websocket(subscriber.url, compression=compression) as viewer:
        assert subscriber.metric(f'viewers{{event="main",kind="{kind}"}}') == 1
        assert model.decode_stream_message(viewer.recv(20)) == model.Snapshot("s-2", 2, {"🔥": 6, "👏": 7})
        cluster.write(3)
        assert model.decode_stream_message(viewer.recv(20)) == swarm("s", 3).for_viewers()
        viewer.send("what a viewer says is ignored")
        assert viewer.ping().wait(20)
    assert viewer.protocol.close_code == 1000
    wait_until(lambda: subscriber.metric(f'viewers{{event="main",kind="{kind}"}}') == 0)
    with connect_websocket(f"{subscriber.url}?last_event_id=s-1", compression=compression) as viewer:
        assert [model.decode_stream_message(viewer.recv(20)).id for _ in range(2)] == ["s-2", "s-3"]


def test_curl_reads_each_compressed_swarm_as_it_comes(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1, 2)
    subscriber = start(cluster.name)
    command = ["curl", "--silent", "--no-buffer", "--compressed", f"http://{servers.HOST}:{subscriber.port}/v1/stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        try:
            lines = iter(curl.stdout.readline, "")
            assert "id: s-2\n" in lines
            assert subscriber.metric('viewers{event="main",kind="sse_gzip"}') == 1
            cluster.write(3)
            assert "id: s-3\n" in lines
        finally:
            curl.kill()


def test_a_viewer_resumes_by_header_or_query_without_gap_or_repeat(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(*range(1, 200))
    subscriber = start(cluster.name)
    everything = [f"swarm s-{sequence}" for sequence in range(2, 201)]
    with subscriber.watch("s-1") as by_header, Connection(subscriber.port, "/v1/stream?last_event_id=s-1") as by_query:
        cluster.write(200)
        assert by_header.wait_for("swarm s-200") == everything
        assert by_query.wait_for("swarm s-200") == everything


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_compact_websocket_resumes_and_is_told_goodbye(
    new_cluster: NewCluster, start: Start, compression: str | None
) -> None:
    cluster = new_cluster(1, 2, 3)
    subscriber = start(cluster.name)
    kind = "ws_compact" if compression is None else "ws_deflate_compact"
    with connect_websocket(f"{subscriber.url}?form=compact&last_event_id=s-1", compression=compression) as viewer:
        assert subscriber.metric(f'viewers{{event="main",kind="{kind}"}}') == 1
        totals = {"🔥": 3, "👏": 7}
        for sequence in (2, 3):
            message = model.decode_compact_message(viewer.recv(20))
            assert isinstance(message, model.CompactSwarm)
            whole = message.expand(totals)
            assert whole == swarm("s", sequence).for_viewers()
            totals |= whole.totals
        subscriber.process.terminate()
        assert model.decode_compact_message(viewer.recv(20)) == model.Goodbye("draining")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_compact_stream_has_the_same_snapshot_reset_and_heartbeat(
    new_cluster: NewCluster, start: Start, encoding: str
) -> None:
    cluster = new_cluster(1, 2)
    subscriber = start(cluster.name, heartbeat_ms=200)
    command = ["curl", "--silent", "--no-buffer", "--compressed", "--header", f"Accept-Encoding: {encoding}"]
    url = f"http://{servers.HOST}:{subscriber.port}/v1/stream?form=compact&heartbeats=1"
    for query, first in (("", "snapshot"), ("&last_event_id=other-1", "reset")):
        with subprocess.Popen([*command, url + query], stdout=subprocess.PIPE) as curl:
            try:
                lines = (line.removesuffix(b"\n") for line in curl.stdout)
                data = (line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: "))
                assert next(data) == model.encode(model.Hello(200))
                totals = json.loads(next(data))
                assert totals["type"] == first
                cluster.write(totals["sequence"] + 1)
                message = next(each for each in map(model.decode_compact_message, data) if each != model.Heartbeat())
                assert isinstance(message, model.CompactSwarm)
                assert message.expand(totals["totals"]) == swarm("s", totals["sequence"] + 1).for_viewers()
                assert model.Heartbeat() in map(model.decode_compact_message, data)
            finally:
                curl.kill()


def test_an_unknown_form_is_refused_with_those_that_there_are(new_cluster: NewCluster, start: Start) -> None:
    subscriber = start(new_cluster(1).name)
    answer = get(subscriber.port, "/v1/stream?form=short")
    assert (answer.status, answer.json()["detail"]) == (400, "`form` is full or compact, not 'short'.")
    with pytest.raises(InvalidStatus) as refused, connect_websocket(f"{subscriber.url}?form=short"):
        pass
    assert refused.value.response.status_code == 400


def test_a_viewer_that_asks_is_told_the_heartbeat_and_can_see_it(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name, heartbeat_ms=200)
    hello, heartbeat = {"type": "hello", "heartbeat_ms": 200}, {"type": "heartbeat"}
    with Connection(subscriber.port, "/v1/stream?heartbeats=1") as by_sse, subscriber.watch() as not_asking:
        wait_until(lambda: by_sse.body.count(b'event: heartbeat\ndata: {"type":"heartbeat"}\n\n') >= 2)
        events = by_sse.body.split(b"\n\n")
        assert events[1] == b'event: hello\ndata: {"type":"hello","heartbeat_ms":200}'
        assert events[2].startswith(b"event: snapshot\nid: s-1\n")
        wait_until(lambda: b":\n\n" in not_asking.body)
        assert b":\n\n" not in by_sse.body
        assert not_asking.seen() == ["snapshot s-1"]
    with connect_websocket(f"{subscriber.url}?heartbeats=1") as by_websocket:
        first, second, third = (json.loads(by_websocket.recv(20)) for _ in range(3))
        assert (first, second["type"], third) == (hello, "snapshot", heartbeat)


@pytest.mark.parametrize("last_id", ["other-1", "nonsense"])
def test_an_unknown_id_gets_a_reset(new_cluster: NewCluster, start: Start, last_id: str) -> None:
    cluster = new_cluster(1, 2)
    with start(cluster.name).watch(last_id) as viewer:
        assert viewer.wait_for("reset s-2") == ["reset s-2"]


def test_an_id_before_the_history_gets_a_reset_and_one_ahead_waits(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(5, 6)
    subscriber = start(cluster.name, heartbeat_ms=200)
    with subscriber.watch("s-3") as behind, subscriber.watch("s-8") as ahead:
        behind.wait_for("reset s-6")
        wait_until(lambda: ahead.body.count(b":\n\n") >= 2)
        cluster.write(7, 8, 9)
        behind.wait_for("swarm s-9")
        assert ahead.wait_for("swarm s-9") == ["swarm s-9"]


def test_repeats_are_dropped_and_a_gap_or_a_new_stream_resets(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")
        cluster.write(2, 2, 1, 3)
        cluster.write_raw(b"this is no swarm")
        cluster.write(6, 7)
        cluster.write(1, 2, stream="t")
        after_gap = ["reset s-6", "swarm s-7", "reset t-1", "swarm t-2"]
        assert viewer.wait_for("swarm t-2") == ["snapshot s-1", "swarm s-2", "swarm s-3", *after_gap]
    assert subscriber.metric("repeats_total") == 2
    assert subscriber.metric("gaps_total") == 1
    assert subscriber.metric("new_streams_total") == 1
    assert subscriber.metric("unreadable_records_total") == 1


def test_an_empty_topic_is_waited_for(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster()
    subscriber = start(cluster.name, wait=False)
    wait_until(lambda: "is empty" in subscriber.reason())
    refused = get(subscriber.port, "/v1/stream")
    assert refused.status == 503
    assert "retry-after" in refused.head.lower()
    assert subscriber.registered() is None
    cluster.write(0)
    wait_until(subscriber.is_ready)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-0")


def test_a_viewer_moves_between_clusters_without_gap_or_repeat(new_cluster: NewCluster, start: Start) -> None:
    first, second = new_cluster(*range(1, 6)), new_cluster(*range(1, 4))
    one, other = start(first.name), start(second.name)
    with one.watch() as viewer:
        viewer.wait_for("snapshot s-5")
        first.write(6, 7)
        viewer.wait_for("swarm s-7")
    with other.watch("s-7") as viewer:
        second.write(*range(4, 11))
        assert viewer.wait_for("swarm s-10") == ["swarm s-8", "swarm s-9", "swarm s-10"]
    first.write(*range(8, 13))
    with one.watch("s-10") as viewer:
        assert viewer.wait_for("swarm s-12") == ["swarm s-11", "swarm s-12"]


def test_viewers_stay_through_a_killed_broker(kafka: Server, new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name, heartbeat_ms=500)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")
        kafka.process.send_signal(signal.SIGKILL)
        wait_until(lambda: "kafka" in subscriber.reason(), 30)
        beats = viewer.body.count(b":\n\n")
        wait_until(lambda: viewer.body.count(b":\n\n") > beats)
        with subscriber.watch() as late:
            late.wait_for("snapshot s-1")
        wait_until(kafka.is_back, 120)
        cluster.write(2, 3)
        assert viewer.wait_for("swarm s-3", 60) == ["snapshot s-1", "swarm s-2", "swarm s-3"]
        wait_until(subscriber.is_ready, 30)


def test_a_topic_that_was_made_anew_is_read_again(kafka: Server, new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(*range(1, 10))
    subscriber = start(cluster.name)
    with subscriber.watch() as viewer, KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        viewer.wait_for("snapshot s-9")
        admin.delete_topics([cluster.name])

        def is_made_anew() -> bool:
            try:
                admin.create_topics([NewTopic(cluster.name, 1, 1)])
            except TopicAlreadyExistsError:  # still being deleted
                return False
            return True

        wait_until(is_made_anew)
        with durable_producer(KafkaSettings(bootstrap_servers=(kafka.address,))) as producer:
            Cluster(cluster.name, producer).write(1, 2, stream="t")
            wait_until(lambda: viewer.seen()[-1:] != ["snapshot s-9"], 40, viewer.seen)
            Cluster(cluster.name, producer).write(3, stream="t")
            assert viewer.wait_for("swarm t-3")[:2] == ["snapshot s-9", "reset t-1"]


def test_three_hundred_viewers_get_the_same(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name)

    async def watch() -> bytes:
        reader, writer = await asyncio.open_connection(servers.HOST, subscriber.port)
        writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        received = await reader.readuntil(b"id: s-1\n") + await reader.readuntil(b"id: s-40\n")
        writer.close()
        return received

    async def watch_all() -> list[bytes]:
        watching = [asyncio.create_task(watch()) for _ in range(300)]
        await asyncio.to_thread(wait_until, lambda: subscriber.metric('viewers{event="main",kind="sse"}') == 300)
        await asyncio.to_thread(cluster.write, *range(2, 41))
        return await asyncio.wait_for(asyncio.gather(*watching), 30)

    for received in asyncio.run(watch_all()):
        ids = [line for line in received.split(b"\n") if line.startswith(b"id: ")]
        assert ids == [b"id: s-%d" % sequence for sequence in range(1, 41)]


def test_a_stalled_viewer_is_closed_as_slow_and_holds_up_nobody(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(0)
    subscriber = start(cluster.name, max_viewer_buffer_bytes=4096, slow_viewer_timeout_ms=1_000)
    with socket.socket() as stalled, subscriber.watch() as quick:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((servers.HOST, subscriber.port))
        stalled.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: subscriber.metric('viewers{event="main",kind="sse"}') == 2)
        cluster.write(*range(1, 300))
        assert len(quick.wait_for("swarm s-299")) == 300
        wait_until(lambda: subscriber.metric("slow_pauses_total") >= 1)
        wait_until(lambda: subscriber.metric("slow_closes_total") == 1)
        wait_until(lambda: subscriber.metric('viewers{event="main",kind="sse"}') == 1)


def test_a_viewer_that_pauses_reads_on_from_the_history(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(0)
    subscriber = start(cluster.name, max_viewer_buffer_bytes=4096)
    with socket.socket() as pausing:
        pausing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pausing.settimeout(20)
        pausing.connect((servers.HOST, subscriber.port))
        pausing.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: subscriber.metric('viewers{event="main",kind="sse"}') == 1)
        cluster.write(*range(1, 300))
        wait_until(lambda: subscriber.metric("slow_pauses_total") >= 1)
        received = b""
        while b"id: s-299\n" not in received:
            received += pausing.recv(1 << 16)
    ids = [line for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [b"id: s-%d" % sequence for sequence in range(300)]


def test_past_its_capacity_it_refuses_and_says_when_to_come_back(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name, capacity=1)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")
        wait_until(lambda: (subscriber.registered() or {}).get("clients") == 1)
        refused = get(subscriber.port, "/v1/stream")
        assert refused.status == 503
        assert "retry-after: " in refused.head.lower()
        assert refused.json()["status"] == 503
        with connect_websocket(subscriber.url) as websocket, pytest.raises(ConnectionClosed) as closed:
            websocket.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    wait_until(lambda: subscriber.metric("viewers") == 0)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")


def test_sigterm_withdraws_says_goodbye_and_ends_cleanly(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name, drain_timeout_ms=500)
    with subscriber.watch() as viewer, connect_websocket(subscriber.url) as websocket:
        viewer.wait_for("snapshot s-1")
        websocket.recv(20)
        subscriber.process.send_signal(signal.SIGTERM)
        assert model.decode_stream_message(websocket.recv(20)) == model.Goodbye("draining")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        viewer.wait_end()
        assert viewer.messages()[-1] == model.Goodbye("draining")
    wait_until(lambda: subscriber.registered() is None)
    wait_until(lambda: not subscriber.process.is_running())
    assert subscriber.process.exit_status == 0


def test_only_pages_of_allowed_origins_may_watch(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    subscriber = start(cluster.name, cors_origins="https://show.example")
    with subscriber.watch(None, "Origin: https://show.example") as viewer:
        viewer.wait_for("snapshot s-1")
        assert "access-control-allow-origin: https://show.example" in viewer.head.lower()
    with connect_websocket(subscriber.url, origin="https://show.example") as websocket:
        websocket.recv(20)
    assert get(subscriber.port, "/v1/stream", headers=("Origin: https://evil.example",)).status == 403
    with pytest.raises(InvalidStatus) as refused:
        connect_websocket(subscriber.url, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    preflight = get(subscriber.port, "/v1/stream", method="OPTIONS", headers=("Origin: https://show.example",))
    assert preflight.status == 204
    assert "access-control-allow-headers: last-event-id" in preflight.head.lower()


def test_a_record_of_reactions_is_traced_to_its_swarm(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(4, 5)
    subscriber = start(cluster.name)
    traced = get(subscriber.port, "/v1/trace?partition=0&offset=42").json()
    assert {"sequence": 5, "id": "s-5", "window_end": 12_000, "swarms_timestamp": 1234}.items() <= traced.items()
    assert traced["received_timestamp"] >= traced["cluster_timestamp"] > 0
    assert get(subscriber.port, "/v1/trace?partition=0&offset=50").status == 404
    assert get(subscriber.port, "/v1/trace?partition=0").status == 400


def test_what_is_no_proper_request_gets_an_answer_all_the_same(new_cluster: NewCluster, start: Start) -> None:
    subscriber = start(new_cluster(1).name, handshake_timeout_ms=300)
    port = subscriber.port
    assert get(port, "/nothing").json()["title"] == "Not Found"
    assert get(port, "/v1/stream", method="POST").status == 405
    assert get(port, "/v1/stream", headers=(f"Padding: {'x' * 17_000}",)).status == 431
    assert get(port, "/v1/ws").status == 426
    with socket.create_connection((servers.HOST, port), timeout=20) as silent:
        assert silent.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection((servers.HOST, port), timeout=20) as babbling:
        babbling.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert babbling.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_the_registration_comes_back_after_a_lost_session(new_cluster: NewCluster, start: Start) -> None:
    subscriber = start(new_cluster(1).name, advertised_url="https://edge.example", capacity=7)
    admin_url = f"http://{servers.HOST}:{subscriber.admin_port}"
    # There is no table of events yet.
    seats = {"capacity": 7, "clients": 0, "events": 0}
    expected = {"url": "https://edge.example", "admin_url": admin_url, **seats}
    wait_until(lambda: subscriber.registered() == expected)
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")
        # The process is stopped for longer than its session, which is gone when it continues.
        subscriber.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: subscriber.registered() is None, 30)
        subscriber.process.send_signal(signal.SIGCONT)
        wait_until(lambda: (subscriber.registered() or {}).get("clients") == 1, 30)


def test_it_works_without_zookeeper_but_is_not_ready(new_cluster: NewCluster, start: Start) -> None:
    cluster = new_cluster(1)
    nowhere = f"{servers.HOST}:{servers.free_port()}"
    subscriber = start(cluster.name, wait=False, zookeeper_address=nowhere, drain_timeout_ms=0)
    wait_until(lambda: "ZooKeeper" in subscriber.reason())
    with subscriber.watch() as viewer:
        viewer.wait_for("snapshot s-1")
        subscriber.process.send_signal(signal.SIGTERM)
        viewer.wait_for("goodbye")
    wait_until(lambda: not subscriber.process.is_running())
    assert subscriber.process.exit_status == 0


def test_a_capacity_beyond_the_limit_of_open_files_is_refused(new_cluster: NewCluster, start: Start) -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_SUBSCRIBER_CAPACITY"):
        start(new_cluster(1).name, capacity=100_000_000)
