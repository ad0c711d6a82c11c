"""The edge around a Flask app: whatever a client does, others are answered, and each error is problem+json."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from flask import Flask, Response, request

from emostream.errors import EmoStreamError
from emostream.runtime.http import Deferred, Limits, ThreadedServer, create_app, problem, serve
from emostream.runtime.listener import listen
from emostream.runtime.readiness import Readiness
from emostream_lab.processes import servers

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

    @app.get("/fails")
    def fails() -> Response:
        raise ZeroDivisionError

    @app.post("/later")
    def later() -> Response:
        outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        answer = Response(request.get_data(), 202)
        asyncio.get_running_loop().call_later(0.2, outcome.set_result, answer)
        return Deferred(outcome)

    return app


@pytest.fixture(scope="module")
def readiness() -> Readiness:
    return Readiness("kafka")


@pytest.fixture(scope="module")
def port(readiness: Readiness) -> Iterator[int]:
    free, started = servers.free_port(), threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        event = asyncio.Event()
        stop.append((asyncio.get_running_loop(), event))
        started.set()
        await serve(make_app(readiness), listen(HOST, free), event, LIMITS)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    wait_listening(free)
    yield free
    loop, event = stop[0]
    loop.call_soon_threadsafe(event.set)
    thread.join(10)
    assert not thread.is_alive()


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
    assert json.loads(refused.body)["reasons"] == {"kafka": "no broker answers"}  # type: ignore[attr-defined]
    readiness.met("kafka")
    assert ask(port, "GET", "/readyz").status == 200


def test_metrics_are_prometheus_text(port: int) -> None:
    response = ask(port, "GET", "/metrics")
    assert response.getheader("Content-Type", "").startswith("text/plain")
    assert b"emostream_http_dropped_requests_total" in response.body  # type: ignore[attr-defined]


def metric(port: int, name: str) -> float:
    """The value of a metric with its labels, 0 where there is none yet."""
    lines = ask(port, "GET", "/metrics").body.decode().splitlines()  # type: ignore[attr-defined]
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
def test_each_answer_is_counted_by_its_path_and_status(port: int, request_head: bytes, path: str, status: int) -> None:
    name = f'emostream_http_requests_total{{path="{path}",status="{status}"}}'
    before = metric(port, name)
    assert send_raw(port, request_head).startswith(f"HTTP/1.1 {status}".encode())
    assert metric(port, name) == before + 1


def test_a_body_comes_back_whole(port: int) -> None:
    assert ask(port, "POST", "/echo", b"x" * 1_000).body == b"x" * 1_000  # type: ignore[attr-defined]


def test_a_body_in_chunks_is_refused_since_a_broken_one_could_not_be_told_from_a_whole_one(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert send_raw(port, head + b"3\r\nabc\r\n0\r\n\r\n").startswith(b"HTTP/1.1 411")


def test_a_path_is_percent_decoded_once(port: int) -> None:
    assert ask(port, "GET", "/path/%F0%9F%94%A5%2525").body == "🔥%25".encode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/echo", 405), ("GET", "/fails", 500)]
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
    hanging = [socket.create_connection((HOST, port)) for _ in range(200)]
    for connection in hanging:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert ask(port, "GET", "/healthz").status == 200
    for connection in hanging:
        connection.close()


def test_a_client_that_goes_away_is_counted_and_harms_nobody(port: int) -> None:
    name = "emostream_http_dropped_requests_total"
    before = metric(port, name)
    send_raw(port, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", then_close=True)
    for _ in range(100):
        if metric(port, name) == before + 1:
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
    posted = ask(port, "POST", "/later", b"x", Origin="https://page.example")
    assert posted.getheader("Access-Control-Allow-Origin") == "https://page.example"
    foreign = ask(port, "OPTIONS", "/later", None, **{**preflight, "Origin": "https://elsewhere.example"})
    assert foreign.getheader("Access-Control-Allow-Origin") is None


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


def test_a_problem_carries_its_extension_members() -> None:
    assert problem(HTTPStatus.BAD_REQUEST, "No.", index=3).get_json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "No.",
        "index": 3,
    }
