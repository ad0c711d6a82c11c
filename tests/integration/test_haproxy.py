"""HAProxy in front of registry, ingest and subscribers, as the role configures it."""

import asyncio
import contextlib
import json
import re
import runpy
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from emostream import model
from emostream.client import connection
from emostream.client.streams import SseStream, Stream, WebSocketStream
from emostream.client.viewer import watch
from emostream.config import ClientSettings
from emostream.errors import ConfigurationError
from emostream_lab.load import http as load_http
from emostream_lab.machine.certificates import Authority, write_identity
from emostream_lab.processes.haproxy import Proxy, proxy
from emostream_lab.processes.servers import HOST, free_port
from emostream_lab.roles import ROLES
from tests.integration import http2
from tests.integration.behind_haproxy import Fanout, teller
from tests.integration.viewers import wait_until
from tests.unit.subscriber.rig import publish

# HAProxy has limits for this address of loopback, and none for 127.0.0.1.
STRANGER = "127.0.0.2"
# What the role and the playbooks run at a HAProxy.
RUNTIME = ROLES / "haproxy" / "files" / "runtime.py"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    folder = tmp_path_factory.mktemp("haproxy")
    write_identity(folder / "viewers.pem", authority.identity("haproxy", is_server_only=True))
    (folder / "ca.pem").write_bytes(authority.certificate())
    return folder


@pytest.fixture(scope="module")
def fanout() -> Iterator[Fanout]:
    with Fanout(heartbeat_ms=300) as fanout:
        yield fanout


@pytest.fixture(scope="module")
def told() -> Iterator[str]:
    with teller() as address:
        yield address


@pytest.fixture(scope="module")
def edge(folder: Path, fanout: Fanout, told: str) -> Iterator[Proxy]:
    """Gateway and edge at one address, as on a host that is both. Nothing may be silent for longer than a second."""
    limits = {
        "haproxy_requests_per_address": 0,
        "haproxy_connects_per_address": 0,
        "haproxy_connections_per_address": 0,
        "haproxy_streams_per_address": 3,
    }
    servers = {"haproxy_ingest_servers": [told], "haproxy_registry_servers": [told]}
    with proxy(folder, haproxy_subscribers={"1": fanout.port}, **servers, **limits) as running:
        wait_until(lambda: curl(running, "/")[0] == 200)
        yield running


@pytest.fixture(autouse=True)
def trusting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clients trust the CA of the test."""
    monkeypatch.setenv(ClientSettings.variable("ca_file"), str(folder / "ca.pem"))


def curl(edge: Proxy, path: str, *options: str, scheme: str = "https") -> tuple[int, str, str]:
    """The status of an answer, its headers, and its body. A stream is cut after a second."""
    port = edge.https_port if scheme == "https" else edge.http_port
    command = ["curl", "--silent", "--include", "--no-buffer", "--path-as-is", "--cacert", str(edge.folder / "ca.pem")]
    ran = subprocess.run(
        [*command, "--max-time", "5", *options, f"{scheme}://{HOST}:{port}{path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    head, _, body = ran.stdout.partition("\n\n" if "\n\n" in ran.stdout else "\r\n\r\n")
    assert head, ran
    return int(head.split()[1]), head, body


def encrypted(edge: Proxy, protocols: list[str] | None = None, source: str = HOST) -> ssl.SSLSocket:
    """A connection with TLS."""
    context = ssl.create_default_context(cafile=edge.folder / "ca.pem")
    context.set_alpn_protocols(protocols or ["http/1.1"])
    plain = socket.create_connection((HOST, edge.https_port), timeout=30, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname=HOST)


@contextlib.contextmanager
def watching(stream: Stream) -> Iterator[Iterator[model.ViewerMessage]]:
    """The messages of a stream, as the simulated viewers read it."""

    def messages() -> Iterator[model.ViewerMessage]:
        while data := opened.recv(1 << 16):
            yield from stream.feed(data)
            if answer := stream.data_to_send():
                opened.sendall(answer)

    with load_http.connect(stream.address) as opened:
        opened.sendall(stream.request())
        yield messages()


def watch_url(edge: Proxy, kind: str = "stream", scheme: str = "https") -> str:
    return f"{scheme}://{HOST}:{edge.https_port}/subscribers/1/v1/{kind}"


@pytest.mark.parametrize(("version", "answer"), [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")])
def test_a_stream_comes_by_both_versions_of_http(edge: Proxy, version: str, answer: str) -> None:
    status, head, body = curl(edge, "/subscribers/1/v1/stream", version, "--max-time", "1")
    assert status == 200
    assert head.startswith(answer)
    assert "strict-transport-security: max-age=31536000" in head.lower()
    assert "event: snapshot" in body or '"type":"snapshot"' in body


@pytest.mark.parametrize("kind", [SseStream, WebSocketStream])
def test_our_clients_watch_through_tls(edge: Proxy, fanout: Fanout, kind: type[SseStream | WebSocketStream]) -> None:
    url = watch_url(edge) if kind is SseStream else watch_url(edge, "ws", "wss")
    with watching(kind(url)) as messages:
        assert isinstance(next(messages), model.Snapshot)
        sequence = fanout.server.history.state.sequence + 1 if fanout.server.history.state else 0

        async def fan_out() -> None:
            publish(fanout.server, sequence)

        fanout.do(fan_out)
        assert next(messages).id == f"s-{sequence}"
    wait_until(lambda: fanout.viewers() == 0)


def test_a_websocket_comes_on_a_stream_of_http2(edge: Proxy) -> None:
    with encrypted(edge, ["h2"]) as opened:
        assert opened.selected_alpn_protocol() == "h2"
        http2.websocket(opened, HOST, "/subscribers/1/v1/ws")
        assert http2.headers(opened)[0] == http2.STATUS_200
        assert b'"snapshot"' in http2.data(opened)


def test_an_instance_sees_the_path_without_its_prefix_and_an_unknown_one_is_404(edge: Proxy) -> None:
    assert curl(edge, "/subscribers/1/v1/trace?sequence=2")[0] == 200
    assert curl(edge, "/subscribers/1/healthz")[0] == 200
    for path in ("/subscribers/2/v1/stream", "/subscribers/1", "/subscribers/1x/healthz", "/subscribers/%31/healthz"):
        status, head, _ = curl(edge, path)
        assert (status, "application/problem+json" in head) == (404, True), path
    # What an instance answers to a path that it does not know is its own.
    assert "nothing at /subscribers/1/healthz" in curl(edge, "/subscribers/1/subscribers/1/healthz")[2]


def test_the_gateway_passes_its_paths_on_and_redirects_to_https(edge: Proxy) -> None:
    told = json.loads(curl(edge, "/v1/palette", "--header", "X-Forwarded-For: 203.0.113.7")[2])
    assert (told["path"], told["headers"]["x-forwarded-for"]) == ("/v1/palette", HOST)
    for path in ("/metrics", "/%6Detrics", "/readyz", "/v1/../metrics"):
        assert curl(edge, path)[0] == 404, path
    status, head, _ = curl(edge, "/v1/palette?x=1", scheme="http")
    assert status == 308
    assert f"location: https://{HOST}:{edge.http_port}/v1/palette?x=1" in head
    # keepalived asks so.
    assert curl(edge, "/healthz", scheme="http")[0] == curl(edge, "/healthz")[0] == 200


def header(head: str, name: str) -> str:
    (value,) = re.findall(rf"(?im)^{name}: (.*?)\r?$", head)
    return str(value)


def logged(edge: Proxy, request: str) -> str:
    """The line of a request in the log."""
    lines: list[str] = []

    def is_there() -> bool:
        log = edge.process.log_file.read_text()
        lines[:] = [line for line in log.splitlines() if line.endswith(f" request={request}")]
        return bool(lines)

    wait_until(is_there)
    (line,) = lines
    return line


def test_a_request_gets_an_id_that_the_server_and_the_client_see(edge: Proxy) -> None:
    now_ms = 1_000 * time.time()
    _, head, body = curl(edge, "/v1/palette", "--header", "X-Request-Id: mine")
    request = header(head, "x-request-id")
    assert json.loads(body)["headers"]["x-request-id"] == request
    assert re.fullmatch(r"\d{13}-[0-9a-f]{12}", request)
    assert abs(int(request[:13]) - now_ms) < 60_000
    assert header(curl(edge, "/v1/palette")[1], "x-request-id") != request
    # A stream has one too, and a refusal.
    for path in ("/subscribers/1/v1/stream", "/nothing"):
        assert header(curl(edge, path, "--max-time", "1")[1], "x-request-id")


def test_a_trusted_proxy_may_bring_the_id_of_a_request(folder: Path, fanout: Fanout) -> None:
    with proxy(folder, haproxy_subscribers={"1": fanout.port}, haproxy_trusted_proxies=[STRANGER]) as edge:

        def answered(sent: str, *options: str) -> str:
            forwarded = ["--header", "X-Forwarded-For: 203.0.113.7", "--header", f"X-Request-Id: {sent}"]
            return header(curl(edge, "/subscribers/1/healthz", *forwarded, *options)[1], "x-request-id")

        assert answered("its.Own_id-1", "--interface", STRANGER) == "its.Own_id-1"
        for sent in ("its own", "a" * 65, "it=s", "🔥"):
            assert re.fullmatch(r"\d{13}-[0-9a-f]{12}", answered(sent, "--interface", STRANGER)), sent
        assert answered("its.Own_id-1") != "its.Own_id-1"


def test_the_log_has_what_was_refused_or_failed_and_not_what_was_answered(folder: Path, fanout: Fanout) -> None:
    away = {"haproxy_ingest_servers": [f"{HOST}:{free_port()}"], "haproxy_registry_servers": [f"{HOST}:{free_port()}"]}
    limit = {"haproxy_requests_per_address": 8}
    with proxy(folder, haproxy_subscribers={"1": fanout.port}, **away, **limit) as edge:
        wait_until(lambda: curl(edge, "/v1/palette")[0] == 503)
        ids = {}
        for path, status, options in (
            ("/subscribers/1/healthz?access_token=secret", 200, []),
            ("/subscribers/1/v1/stream?access_token=secret", 200, ["--max-time", "1"]),
            ("/wp-login.php?access_token=secret", 404, []),
            ("/subscribers/1/nothing", 404, []),
            ("/subscribers/1/v1/ws", 426, []),
            ("/v1/reactions", 503, ["--request", "POST"]),
        ):
            answered, head, _ = curl(edge, path, "--interface", STRANGER, *options)
            assert answered == status, path
            ids[path] = header(head, "x-request-id")
        assert curl(edge, "/", scheme="http")[0] == 308
        answers = [curl(edge, "/", "--interface", STRANGER) for _ in range(40)]
        refused = [header(head, "x-request-id") for status, head, _ in answers if status == 429]
        assert len(refused) > 35
        assert " viewers/<NOSRV> 429 " in logged(edge, refused[0])
        assert re.fullmatch(
            rf".*{STRANGER}:\d+ viewers~ ingest/<NOSRV> 503 S\S* .* POST /v1/reactions request=\S+",
            logged(edge, ids["/v1/reactions"]),
        )
        assert " viewers/<NOSRV> 404 " in logged(edge, ids["/wp-login.php?access_token=secret"])
        assert " subscriber1/subscriber1 404 " in logged(edge, ids["/subscribers/1/nothing"])
        assert " 426 " in logged(edge, ids["/subscribers/1/v1/ws"])
        # A connection that is no TLS.
        with socket.create_connection((HOST, edge.https_port), timeout=30) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(1)
        wait_until(lambda: "SSL handshake failure" in edge.process.log_file.read_text())
        log = edge.process.log_file.read_text()
        assert log.count(" 429 ") < len(refused), "who goes on and on fills the log"
        assert not re.search(r" 200 | 308 |secret", log)


def test_an_old_version_of_tls_is_refused(edge: Proxy) -> None:
    context = ssl.create_default_context(cafile=edge.folder / "ca.pem")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:ECDHE+AES128")
    with (
        socket.create_connection((HOST, edge.https_port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as opened,
    ):
        assert "GCM" in opened.cipher()[0]  # type: ignore[index]
    context.set_ciphers("AES128-SHA")
    with socket.create_connection((HOST, edge.https_port), timeout=30) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=HOST)


def test_a_stream_is_not_cut_by_silence(folder: Path) -> None:
    second = {"timeout client 30s": "timeout client 1s", "timeout server 15s": "timeout server 1s"}
    with (
        Fanout(heartbeat_ms=3_600_000) as silent,
        proxy(folder, replacing=second, haproxy_subscribers={"1": silent.port}) as edge,
        watching(SseStream(watch_url(edge))) as sse,
        watching(WebSocketStream(watch_url(edge, "ws", "wss"))) as websocket,
    ):
        assert isinstance(next(sse), model.Snapshot)
        assert isinstance(next(websocket), model.Snapshot)
        time.sleep(3)

        async def fan_out() -> None:
            publish(silent.server, 4)

        silent.do(fan_out)
        assert [next(sse).id, next(websocket).id] == ["s-4", "s-4"]


def test_the_streams_of_an_address_are_counted_over_all_its_connections(edge: Proxy, fanout: Fanout) -> None:
    wait_until(lambda: fanout.viewers() == 0)
    streams = [f"https://{HOST}:{edge.https_port}/subscribers/1/v1/stream"] * 2
    # Both on one connection.
    both = ["--interface", STRANGER, "--http2", "--parallel", "--no-buffer", "--silent"]
    command = ["curl", *both, "--cacert", str(edge.folder / "ca.pem"), *streams, "-o", "/dev/null", "-o", "/dev/null"]
    with subprocess.Popen(command) as two:
        wait_until(lambda: fanout.viewers() == 2)
        third = encrypted(edge, source=STRANGER)
        third.sendall(f"GET /subscribers/1/v1/stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        wait_until(lambda: fanout.viewers() == 3)
        status, head, body = curl(edge, "/subscribers/1/v1/stream", "--interface", STRANGER, "--max-time", "1")
        assert status == 429
        assert "retry-after: 10" in head.lower()
        assert "access-control-allow-origin: *" in head.lower()
        assert "access-control-expose-headers: retry-after,x-request-id" in head.lower()
        assert json.loads(body)["detail"] == "This address watches too often."
        # Another address has its own.
        assert curl(edge, "/subscribers/1/v1/stream", "--max-time", "1")[0] == 200
        third.close()
        two.terminate()
    wait_until(lambda: fanout.viewers() == 0)
    assert curl(edge, "/subscribers/1/v1/stream", "--interface", STRANGER, "--max-time", "1")[0] == 200


def test_an_address_that_asks_or_connects_too_often_is_refused(folder: Path, fanout: Fanout) -> None:
    limits = {"haproxy_requests_per_address": 5, "haproxy_connects_per_address": 8}
    with proxy(folder, haproxy_subscribers={"1": fanout.port}, **limits) as edge:
        ask = partial(curl, edge, "/subscribers/1/healthz")
        assert [ask("--interface", STRANGER)[0] for _ in range(7)] == [200] * 5 + [429] * 2
        assert ask()[0] == 200
        # With the connections of these requests it is over the limit.
        encrypted(edge, source=STRANGER).close()
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            encrypted(edge, source=STRANGER)


def test_a_new_certificate_ends_no_stream(folder: Path, edge: Proxy, authority: Authority) -> None:
    def put() -> str:
        command = [sys.executable, str(RUNTIME), str(edge.socket), "put-certificate", str(edge.certificate_file)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def serial() -> str:
        with encrypted(edge) as opened:
            return str((opened.getpeercert() or {})["serialNumber"])

    assert put() == ""
    before = serial()
    with watching(WebSocketStream(watch_url(edge, "ws", "wss"))) as messages:
        assert isinstance(next(messages), model.Snapshot)
        write_identity(folder / "viewers.pem", authority.identity("haproxy", is_server_only=True))
        assert put() == "changed\n"
        assert put() == ""
        assert serial() != before
    status = subprocess.run(["pgrep", "-P", str(edge.process.pid)], capture_output=True, check=False, timeout=60)
    assert status.stdout == b""


def test_a_server_that_is_taken_out_gets_no_request_until_it_is_put_back(folder: Path) -> None:
    stats: Callable[[str, str], dict[str, dict[str, str]]] = runpy.run_path(str(RUNTIME))["servers"]
    with (
        teller() as one,
        teller() as other,
        proxy(folder, has_tls=False, haproxy_ingest_servers=[one, other], haproxy_registry_servers=[one]) as gateway,
    ):

        def put(server: str, state: str) -> None:
            command = [sys.executable, str(RUNTIME), str(gateway.socket), state, f"ingest/{server}"]
            subprocess.run(command, check=True, timeout=60)

        def status(server: str) -> str:
            return stats(str(gateway.socket), "ingest")[server]["status"]

        def requests_of(server: str) -> int:
            for _ in range(4):
                assert curl(gateway, "/v1/palette", scheme="http")[0] == 200
            return int(stats(str(gateway.socket), "ingest")[server]["stot"])

        wait_until(lambda: status(one) == status(other) == "UP")
        put(one, "drain")
        assert status(one) == "DRAIN"
        assert requests_of(one) == 0
        put(one, "ready")
        wait_until(lambda: status(one) == "UP")
        assert requests_of(one) > 0
        put(other, "drain")
        # The last one stays: it says itself that it stops. One that HAProxy does not know gets nothing anyway.
        put(one, "drain")
        put("192.0.2.1:8000", "drain")
        assert status(one) == "UP"


def test_our_asyncio_viewer_watches_through_tls(edge: Proxy) -> None:
    async def scenario() -> model.ViewerMessage:
        seen: asyncio.Future[model.ViewerMessage] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(watch("edge", SseStream(watch_url(edge)), seen.set_result))
        try:
            return await asyncio.wait_for(seen, 30)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    assert isinstance(asyncio.run(scenario()), model.Snapshot)


@pytest.mark.parametrize("stream", ["sse", "ws"])
def test_the_seat_of_a_viewer_that_has_vanished_is_free_soon(stream: str, tmp_path: Path) -> None:
    # In its own user namespace, a process may create networks without root.
    in_own_network = ["unshare", "--map-root-user", "--net"]
    scenario = [sys.executable, "-m", "tests.integration.vanishing_viewer", stream, str(tmp_path)]
    ran = subprocess.run([*in_own_network, *scenario], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"does this kernel allow user namespaces to every user?\n{ran.stdout}{ran.stderr}"


def test_a_viewer_that_closes_or_reads_nothing_frees_its_seat(edge: Proxy, fanout: Fanout) -> None:
    wait_until(lambda: fanout.viewers() == 0)
    with watching(SseStream(watch_url(edge))) as messages:
        next(messages)
        assert fanout.viewers() == 1
    wait_until(lambda: fanout.viewers() == 0)


def test_a_client_that_trusts_another_ca_does_not_connect(
    edge: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.pem").write_bytes(Authority().certificate())
    monkeypatch.setenv(ClientSettings.variable("ca_file"), str(tmp_path / "other.pem"))
    stream = SseStream(watch_url(edge))
    with pytest.raises(connection.NotSentError, match="certificate verify failed"):
        load_http.connect(stream.address)


def test_a_file_that_holds_no_ca_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        (tmp_path / "empty.pem").write_text("")
        monkeypatch.setenv(ClientSettings.variable("ca_file"), str(file))
        with pytest.raises(ConfigurationError, match=f"EMOSTREAM_CLIENT_CA_FILE={file} is no file with certificates"):
            connection.server_context()
