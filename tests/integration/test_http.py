"""The HTTP server around a Flask app: whatever a client does, others are answered; each error is problem+json."""

import asyncio
import contextlib
import http.client
import json
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import psutil
import pytest
from flask import Flask, Response, abort, request
from prometheus_client import generate_latest
from structlog.testing import capture_logs

import emostream.runtime.http
from emostream.errors import EmoStreamError
from emostream.runtime.http import Deferred, Limits, ThreadedServer, create_admin_app, create_app, problem, serve
from emostream.runtime.listener import listen
from emostream.runtime.readiness import Readiness
from emostream_lab.processes import servers
from tests.integration.viewers import wait_until

HOST = servers.HOST
LIMITS = Limits(body_bytes=1_000, body_timeout_seconds=0.5)


def make_app(readiness: Readiness) -> Flask:
    app = create_app("test", readiness, cors_origins=("https://page.example",))

    @app.post("/echo")
    def echo() -> Response:
        return Response(request.get_data())

    @app.get("/path/<name>")
    def path(name: str) -> Response:
        return Response(name)

    @app.get("/type")
    def content_type() -> Response:
        return Response(request.mimetype)

    @app.get("/large")
    def large() -> Response:
        return Response(b"x" * (8 << 20))

    @app.get("/fails")
    def fails() -> Response:
        raise ZeroDivisionError

    @app.post("/later")
    def later() -> Response:
        outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        answer = Response(request.get_data(), 202)
        asyncio.get_running_loop().call_later(0.2, outcome.set_result, answer)
        return Deferred(outcome)

    @app.get("/fails-later")
    def fails_later() -> Response:
        return Deferred(fail())

    @app.get("/gone-later")
    def gone_later() -> Response:
        return Deferred(give_up())

    @app.get("/closes")
    def closes() -> Response:
        response = Response("x")
        response.call_on_close(lambda: closed.append("answer"))
        return response

    @app.get("/closes-later")
    def closes_later() -> Response:
        async def outcome() -> Response:
            response = Response("x")
            response.call_on_close(lambda: closed.append("outcome"))
            return response

        return Deferred(outcome())

    return app


closed: list[str] = []


async def fail() -> Response:
    raise ZeroDivisionError


async def give_up() -> Response:
    abort(410)


@pytest.fixture(scope="module")
def readiness() -> Readiness:
    return Readiness("kafka")


@pytest.fixture(scope="module")
def port(readiness: Readiness) -> Iterator[int]:
    with serving(readiness, LIMITS) as port:
        yield port


@contextmanager
def serving(readiness: Readiness, limits: Limits) -> Iterator[int]:
    """The port of a server in a thread."""
    free, started = servers.free_port(), threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        event = asyncio.Event()
        stop.append((asyncio.get_running_loop(), event))
        started.set()
        await serve(make_app(readiness), listen(HOST, free), event, limits)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    wait_listening(free)
    yield free
    loop, event = stop[0]
    loop.call_soon_threadsafe(event.set)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def admin_port(readiness: Readiness) -> Iterator[int]:
    free = servers.free_port()
    server = ThreadedServer(create_admin_app("test", readiness), listen(HOST, free))
    wait_listening(free)
    yield free
    server.stop()


def wait_listening(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        threading.Event().wait(0.05)
    pytest.fail(f"nothing listens on {port}")


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def send_raw(port: int, data: bytes, *, then_close: bool = False) -> bytes:
    """What comes back until the server closes; `then_close` ends our side after sending."""
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(data)
        if then_close:
            return b""
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_alive_at_once_and_ready_only_when_every_condition_is_met(port: int, readiness: Readiness) -> None:
    assert ask(port, "GET", "/healthz").status == 200
    readiness.not_met("kafka", "no broker answers")
    refused = ask(port, "GET", "/readyz")
    assert refused.status == 503
    assert b"broker" not in refused.body  # type: ignore[attr-defined]
    readiness.met("kafka")
    assert ask(port, "GET", "/readyz").status == 200


def test_the_reasons_are_told_at_the_admin_listener(admin_port: int, readiness: Readiness) -> None:
    readiness.not_met("kafka", "no broker answers")
    refused = ask(admin_port, "GET", "/readyz")
    assert refused.status == 503
    assert json.loads(refused.body)["reasons"] == {"kafka": "no broker answers"}  # type: ignore[attr-defined]
    readiness.met("kafka")
    assert ask(admin_port, "GET", "/readyz").status == 200
    assert ask(admin_port, "GET", "/healthz").status == 200


def test_metrics_are_prometheus_text(admin_port: int) -> None:
    response = ask(admin_port, "GET", "/metrics")
    assert response.getheader("Content-Type", "").startswith("text/plain")
    assert b"emostream_http_dropped_requests_total" in response.body  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6Detrics", "/x/../metrics", "/metrics/", "/METRICS"])
def test_no_path_of_a_public_listener_leads_to_the_metrics(port: int, path: str) -> None:
    assert ask(port, "GET", path).status == 404


def metric(name: str) -> float:
    """The value of a metric of this process with its labels; 0 if it does not exist yet."""
    lines = generate_latest().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.parametrize(
    ("request_head", "path", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/healthz", 200),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "/echo", 411),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", "/echo", 413),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "/echo", 408),
        (b"GET /made-up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "other", 404),
    ],
)
def test_each_answer_is_counted_and_timed_by_its_path(port: int, request_head: bytes, path: str, status: int) -> None:
    name = f'emostream_http_requests_total{{path="{path}",status="{status}"}}'
    timed = f'emostream_http_request_seconds_count{{path="{path}"}}'
    before, timed_before = metric(name), metric(timed)
    assert send_raw(port, request_head).startswith(f"HTTP/1.1 {status}".encode())
    assert metric(name) == before + 1
    assert metric(timed) == timed_before + 1


def test_a_body_comes_back_whole(port: int) -> None:
    assert ask(port, "POST", "/echo", b"x" * 1_000).body == b"x" * 1_000  # type: ignore[attr-defined]


def test_a_body_in_chunks_is_refused_since_a_broken_one_could_not_be_told_from_a_whole_one(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert send_raw(port, head + b"3\r\nabc\r\n0\r\n\r\n").startswith(b"HTTP/1.1 411")


def test_a_path_is_percent_decoded_once(port: int) -> None:
    assert ask(port, "GET", "/path/%F0%9F%94%A5%2525").body == "🔥%25".encode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/echo", 405),
        ("GET", "/fails", 500),
        ("GET", "/fails-later", 500),
        ("GET", "/gone-later", 410),
    ],
)
def test_each_error_is_a_problem(port: int, method: str, path: str, status: int) -> None:
    response = ask(port, method, path)
    assert response.status == status
    assert response.getheader("Content-Type") == "application/problem+json"
    assert json.loads(response.body)["status"] == status  # type: ignore[attr-defined]
    assert (response.getheader("Allow") is not None) == (status == 405)


def test_head_has_the_length_and_no_body(port: int) -> None:
    response = ask(port, "HEAD", "/path/abc")
    assert response.status == 200
    assert response.getheader("Content-Length") == "3"
    assert response.body == b""  # type: ignore[attr-defined]


def test_a_body_too_large_is_refused(port: int) -> None:
    assert ask(port, "POST", "/echo", b"x" * 1_001).status == 413


def test_a_client_that_sends_far_too_much_still_reads_why(port: int) -> None:
    for _ in range(20):
        assert ask(port, "POST", "/echo", b"x" * 5_000_000).status == 413


def test_a_body_that_never_ends_is_refused_in_time(port: int) -> None:
    answer = send_raw(port, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


def test_health_is_answered_while_many_bodies_hang(port: int) -> None:
    ends = ("emostream_http_dropped_requests_total", 'emostream_http_requests_total{path="/echo",status="408"}')
    before = sum(map(metric, ends))
    hanging = [socket.create_connection((HOST, port)) for _ in range(200)]
    for connection in hanging:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert ask(port, "GET", "/healthz").status == 200
    for connection in hanging:
        connection.close()
    # Each one is counted, as disconnected or as too late, before the next test counts.
    wait_until(lambda: sum(map(metric, ends)) == before + 200)


def test_a_client_that_goes_away_is_counted_and_harms_nobody(port: int) -> None:
    name = "emostream_http_dropped_requests_total"
    before = metric(name)
    send_raw(port, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", then_close=True)
    for _ in range(100):
        if metric(name) == before + 1:
            return
        threading.Event().wait(0.05)
    pytest.fail("the dropped request was not counted")


def test_a_deferred_answer_is_waited_for_without_holding_up_others(port: int) -> None:
    answers: list[int] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(ask(port, "POST", "/later", b"x").status)) for _ in range(20)
    ]
    for thread in waiting:
        thread.start()
    assert ask(port, "GET", "/healthz").status == 200
    for thread in waiting:
        thread.join()
    assert answers == [202] * 20


def test_a_page_of_an_allowed_origin_may_send_and_another_may_not(port: int) -> None:
    preflight = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    allowed = ask(port, "OPTIONS", "/later", None, **preflight)
    assert allowed.getheader("Access-Control-Allow-Origin") == "https://page.example"
    assert "POST" in allowed.getheader("Access-Control-Allow-Methods", "")
    assert allowed.getheader("Access-Control-Allow-Headers") == "Content-Type"
    assert "Origin" in (allowed.headers.get_all("Vary") or [])
    posted = ask(port, "POST", "/later", b"x", Origin="https://page.example")
    assert posted.getheader("Access-Control-Allow-Origin") == "https://page.example"
    assert posted.getheader("Access-Control-Expose-Headers") == "Retry-After, X-Request-Id"
    assert posted.getheader("Vary") == "Origin"
    foreign = ask(port, "OPTIONS", "/later", None, **{**preflight, "Origin": "https://elsewhere.example"})
    assert foreign.getheader("Access-Control-Allow-Origin") is None
    assert "Origin" in (foreign.headers.get_all("Vary") or [])
    assert ask(port, "POST", "/later", b"x").getheader("Vary") == "Origin"


def test_a_preflight_allows_the_headers_that_a_page_wants_to_send(port: int) -> None:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,sentry-trace"}
    allowed = ask(port, "OPTIONS", "/later", None, Origin="https://page.example", **wanted)
    assert allowed.getheader("Access-Control-Allow-Headers") == "content-type, sentry-trace"


ORIGIN = b"Host: x\r\nOrigin: https://page.example\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /echo HTTP/1.1\r\n" + ORIGIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /echo HTTP/1.1\r\n" + ORIGIN + b"Content-Length: 9999\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\n" + ORIGIN + b"Content-Length: 9\r\n\r\nabc", 408),
        (b"GET /made-up HTTP/1.1\r\nConnection: close\r\n" + ORIGIN + b"\r\n", 404),
        (b"GET /fails HTTP/1.1\r\nConnection: close\r\n" + ORIGIN + b"\r\n", 500),
        (b"GET /fails-later HTTP/1.1\r\nConnection: close\r\n" + ORIGIN + b"\r\n", 500),
    ],
)
def test_a_page_may_read_why_it_is_refused(port: int, request_bytes: bytes, status: int) -> None:
    head = send_raw(port, request_bytes).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 %d" % status)
    assert b"access-control-allow-origin: https://page.example" in head
    assert b"vary: origin" in head


def test_a_deferred_answer_that_raises_is_logged_and_counted(port: int) -> None:
    name = 'emostream_http_requests_total{path="/fails-later",status="500"}'
    before = metric(name)
    with capture_logs() as lines:
        assert ask(port, "GET", "/fails-later").status == 500
    assert [(line["event"], line["path"]) for line in lines] == [("request failed", "/fails-later")]
    assert metric(name) == before + 1


def test_an_underscore_in_a_header_does_not_stand_for_a_dash(port: int) -> None:
    head = b"GET /type HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: a/b\r\nContent_Type: c/d\r\n\r\n"
    assert send_raw(port, head).endswith(b"\r\n\r\na/b")


def test_each_answer_is_closed(port: int) -> None:
    ask(port, "GET", "/closes")
    ask(port, "HEAD", "/closes")
    ask(port, "GET", "/closes-later")
    assert closed == ["answer", "answer", "outcome"]


@pytest.mark.parametrize(
    "path",
    [
        "/path//abc",
        "//path/abc",
        "//healthz",
        "/%2Fhealthz",
        "/healthz/",
        "/path/abc/",
        "/./healthz",
        "/path/../healthz",
    ],
)
def test_another_spelling_of_a_path_is_not_found(port: int, path: str) -> None:
    response = ask(port, "GET", path)
    assert response.status == 404
    assert response.getheader("Content-Type") == "application/problem+json"
    assert response.getheader("Location") is None


def test_a_body_that_comes_byte_by_byte_is_taken_whole(port: int) -> None:
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 50\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x")
        answer = connection.makefile("rb").read()
    assert answer.endswith(b"\r\n\r\n" + b"x" * 50)


def test_slow_senders_of_large_bodies_are_refused_past_the_budget_and_others_are_served() -> None:
    body_bytes, receiving_bytes, senders = 60_000, 256 << 10, 20
    limits = Limits(body_bytes, body_timeout_seconds=60, receiving_bytes=receiving_bytes)
    head = b"POST /echo HTTP/1.1\r\n" + ORIGIN + b"Content-Length: %d\r\n\r\n" % body_bytes
    # A quarter of the budget is for small bodies.
    most_held = receiving_bytes * 3 // 4 // (body_bytes - 1)
    with serving(Readiness(), limits) as port:
        slow = [socket.create_connection((HOST, port), timeout=30) for _ in range(senders)]
        for connection in slow:
            connection.sendall(head + b"x" * (body_bytes - 1))
        answers = answers_of(slow, senders - most_held)
        assert all(answer.startswith(b"http/1.1 503") for answer in answers)
        assert all(b"retry-after: 1" in answer for answer in answers)
        assert all(b"access-control-allow-origin: https://page.example" in answer for answer in answers)
        assert metric("emostream_http_refused_bodies_total") >= senders - most_held
        assert ask(port, "GET", "/healthz").status == 200
        assert ask(port, "POST", "/echo", b"x" * 4_096).status == 200
        for connection in slow:
            connection.close()
        # Their memory is free again once the server notices that they are gone.
        for _ in range(100):
            if ask(port, "POST", "/echo", b"x" * body_bytes).status == 200:
                return
        pytest.fail("the budget is still used up")


def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    with serving(Readiness(), Limits(answer_timeout_seconds=1)) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((HOST, port))
        client.sendall(b"GET /large HTTP/1.1\r\n" + CLOSE + b"\r\n")
        wait_until(lambda: metric('emostream_http_requests_total{path="/large",status="200"}') == 1)
        wait_until(lambda: client.getsockname() not in peers(port))


def peers(port: int) -> list[tuple[str, int]]:
    """The addresses of the clients whose connections to this server of ours are open."""
    return [each.raddr for each in psutil.Process().net_connections("tcp") if each.laddr.port == port and each.raddr]


def answers_of(connections: list[socket.socket], number: int) -> list[bytes]:
    """The first answers, in lower case, that come on any of the connections."""
    waiting, answers = list(connections), []
    while len(answers) < number:
        readable = select.select(waiting, [], [], 30)[0]
        assert readable, f"{len(answers)} of {number} answers came"
        for connection in readable:
            waiting.remove(connection)
            answers.append(connection.recv(65536).lower())
    return answers


CLOSE = b"Host: x\r\nConnection: close\r\n"
ODD_REQUESTS = {
    "a length that is no number": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: abc\r\n\r\n", 400),
    "a negative length": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: -1\r\n\r\n", 400),
    "a signed length": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: +3\r\n\r\nabc", 400),
    "a length in Arabic digits": (
        b"POST /echo HTTP/1.1\r\n" + CLOSE + "Content-Length: ٣\r\n\r\nabc".encode(),
        400,
    ),
    "two lengths": (
        b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    ),
    "the same length twice": (
        b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        200,
    ),
    "a length of 26 digits": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: %s\r\n\r\n" % (b"9" * 26), 400),
    "a length that is not UTF-8": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: \xff\r\n\r\n", 400),
    "a length beside chunks": (
        b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        411,
    ),
    "no length": (b"POST /echo HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "a GET with a body": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc", 200),
    "no Host": (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    "no Host in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    "OPTIONS of the server": (b"OPTIONS * HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
    "OPTIONS of a path": (b"OPTIONS /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "HEAD of nothing": (b"HEAD /made-up HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
    "HEAD with a large body": (b"HEAD /healthz HTTP/1.1\r\n" + CLOSE + b"Content-Length: 9999\r\n\r\n", 413),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
    "a method that nobody knows": (b"FROB /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n", 405),
    "a whole URL": (b"GET http://x/healthz HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "a path that is not UTF-8": (b"GET /path/%ff%fe HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "a path of bytes that are not ASCII": (b"GET /path/\xff HTTP/1.1\r\n" + CLOSE + b"\r\n", 400),
    "a line feed in the path": (b"GET /made-up%0d%0aX:y HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
    "a header that is not UTF-8": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"X: \xff\r\n\r\n", 200),
    "an origin that is not UTF-8": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"Origin: \xff\r\n\r\n", 200),
    "a query that is not UTF-8": (b"GET /healthz?%ff HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "a query of 8 KiB": (b"GET /healthz?" + b"x" * 8_192 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    "a head of 16 KiB": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"Cookie: " + b"x" * 16_300 + b"\r\n\r\n", 200),
    "a head of 40 KiB": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"Cookie: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    "a line that is folded": (b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"X: a\r\n b\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), ODD_REQUESTS.values(), ids=ODD_REQUESTS)
def test_an_odd_request_gets_an_answer_and_no_traceback(
    port: int, caplog: pytest.LogCaptureFixture, request_bytes: bytes, status: int
) -> None:
    with capture_logs() as lines:
        head, _, body = send_raw(port, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.%d %d" % (b"HTTP/1.0" not in request_bytes, status))
    if body and status >= 400:
        assert json.loads(body)["status"] == status
    assert not lines
    assert not caplog.records
    assert ask(port, "GET", "/healthz").status == 200


def test_a_port_in_use_is_told_in_one_sentence(port: int) -> None:
    with pytest.raises(EmoStreamError, match=f"{HOST}:{port} cannot be bound"):
        listen(HOST, port)


def test_a_server_in_a_thread_answers_and_ends() -> None:
    free = servers.free_port()
    server = ThreadedServer(make_app(Readiness()), listen(HOST, free))
    wait_listening(free)
    assert ask(free, "GET", "/healthz").status == 200
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(free, "GET", "/healthz")


def test_a_server_in_a_thread_that_fails_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    async def fail(*_: object) -> None:
        raise OSError("no more sockets")

    monkeypatch.setattr(emostream.runtime.http, "serve", fail)
    with listen(HOST, servers.free_port()) as listener:
        ThreadedServer(make_app(Readiness()), listener, on_failure=failed.set)
        assert failed.wait(60)


def test_an_ipv6_address_can_be_bound() -> None:
    free = servers.free_port()
    server = ThreadedServer(make_app(Readiness()), listen("::1", free))
    try:
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("::1", free), 10) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                return
            threading.Event().wait(0.05)
        pytest.fail("nothing answers")
    finally:
        server.stop()


def test_a_problem_carries_its_extension_members() -> None:
    assert problem(HTTPStatus.BAD_REQUEST, "No.", event="final").get_json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "No.",
        "event": "final",
    }


def test_each_request_has_an_id_in_its_answer_and_in_the_log(port: int) -> None:
    kept: Any = {"X-Request-Id": "its.Own_id-1"}
    for method, path, body in (("POST", "/echo", b"x"), ("POST", "/later", b"x"), ("GET", "/nothing", None)):
        assert ask(port, method, path, body, **kept).getheader("X-Request-Id") == "its.Own_id-1"
        for sent in ("a b", "a" * 65):
            answer = ask(port, method, path, body, **{"X-Request-Id": sent})  # type: ignore[arg-type]
            assert re.fullmatch(r"\d{13}-[0-9a-f]{12}", answer.headers["X-Request-Id"])
    # What is refused before a view sees it has one too.
    assert ask(port, "POST", "/echo", b"x" * 2_000, **kept).getheader("X-Request-Id") == "its.Own_id-1"
    for path in ("/fails", "/fails-later"):
        with capture_logs() as lines:
            assert ask(port, "GET", path, **kept).status == 500
        assert [line["request"] for line in lines] == ["its.Own_id-1"]
