"""The HTTP server of the Flask tiers: Granian's server around a Flask app, in one process, on one event loop.

This is no plain WSGI server, because a WSGI app keeps a thread for as long as a request lasts. With as many slow
clients or waiting requests as threads, no thread would be left to answer even /healthz. So Granian calls our `Edge`
through its own interface RSGI, on the event loop. `Edge` receives the whole body before Flask sees the request, and a
view that must wait (for Kafka) returns a `Deferred` response, which `Edge` awaits. No thread ever waits.
"""

import asyncio
import contextlib
import functools
import io
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import uvloop
from flask import Flask, Request, Response, request
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.rsgi import ProtocolClosed, ProtocolError
from granian.server.embed import Server
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import MapAdapter

from emostream import model
from emostream.errors import EmoStreamError
from emostream.model import Status
from emostream.runtime import cors, logs, request_ids, tls
from emostream.runtime.budget import BodyBudget
from emostream.runtime.readiness import NOT_READY, Readiness

log = logs.get(__name__)

# Granian counts the silence between two requests too. It must be longer than proxies and clients keep an idle
# connection: a request that comes at the moment of the close is lost, and its outcome is unknown.
_HEAD_TIMEOUT_MS = 60_000
# A head of 16 KiB passes, which is what cookies of `localhost` come to; a larger one than this gets 431 from Granian.
_MAX_HEAD_BYTES = 20 << 10
_LINGER_SECONDS = 1.0
MAX_ADMIN_CONNECTIONS = 64
_RETRY_AFTER_SECONDS = 1
_ORIGINS = "CORS_ORIGINS"
_FOR_OPERATORS = "FOR_OPERATORS"

# They say since when a counter counts, in as many series again; `process_start_time_seconds` says it too.
disable_created_metrics()  # type: ignore[no-untyped-call]

_build = Gauge(
    "emostream_build_info",
    "1; the labels say what runs: the version, and the folder of its code, which is named after the release on hosts.",
    ["version", "release"],
)
_build.labels(metadata.version("emostream"), Path(__file__).resolve().parents[2].name).set(1)
_requests = Counter(
    "emostream_http_requests_total", "Requests by their path and the status of the answer.", ["path", "status"]
)
_request_seconds = Histogram(
    "emostream_http_request_seconds",
    "Time from the head of a request until its answer is ready, by path; it includes the wait for Kafka.",
    ["path"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_dropped_requests = Counter(
    "emostream_http_dropped_requests_total",
    "Requests whose client disconnected before the answer.",
)
_refused_bodies = Counter(
    "emostream_http_refused_bodies_total",
    "Requests that got 503 because the bodies being received filled their memory.",
)
_OTHER_PATH = "other"


class Deferred(Response):
    """What a view returns when its answer is not decided yet; the server awaits `outcome` and sends that instead."""

    def __init__(self, outcome: Awaitable[Response]) -> None:
        # It is never sent, so it has no headers, no body, and nothing to close.
        self.outcome = outcome

    def __call__(self, *_: Any) -> Any:
        raise RuntimeError("a deferred response needs the server of emostream.runtime.http, not a plain WSGI server")


class _App(Flask):
    """Flask without what each request would pay for and none of ours needs.

    That is: coroutines as views, routes by host, functions before and after requests, signals, and saved sessions.
    """

    def full_dispatch_request(self) -> Response:
        try:
            content = self.dispatch_request()
        except Exception as error:
            content = self.handle_user_exception(error)
        return self.make_response(content)

    def do_teardown_request(self, *_: Any) -> None: ...

    def do_teardown_appcontext(self, *_: Any) -> None: ...

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        environ = request.environ
        # Werkzeug takes //x for /x. What checks paths in front of us does not.
        if environ["PATH_INFO"].startswith("//"):
            raise NotFound
        return MapAdapter(
            self.url_map,
            server_name=environ["SERVER_NAME"],
            script_name="/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=request.path,
            default_method=environ["REQUEST_METHOD"],
        )


@dataclass(frozen=True)
class Limits:
    """Limits of what the server receives.

    `body_bytes` and `body_timeout_seconds` are for each body; `receiving_bytes` is for all bodies on their way in
    together, and one that would exceed it gets 503. Connections past `connections` wait to be accepted. A client that
    takes nothing of its answer for `answer_timeout_seconds` is cut off.
    """

    body_bytes: int = 64 << 10
    body_timeout_seconds: float = 5
    connections: int = 5_000
    receiving_bytes: int = 8 << 20
    answer_timeout_seconds: float = 30


def create_app(name: str, readiness: Readiness, cors_origins: Sequence[str] = ()) -> Flask:
    """The app of a public listener: /healthz and /readyz with a status alone, CORS, and errors as problem+json."""
    app = _new_app(name)

    @app.get("/readyz")
    def readyz() -> Response:
        if readiness.is_ready():
            return answer(Status("ready"))
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, NOT_READY)

    app.config[_ORIGINS] = tuple(cors_origins)
    return app


def create_admin_app(name: str, readiness: Readiness) -> Flask:
    """The app of an admin listener: /healthz, /readyz with reasons, and /metrics; TLS alone, if that is on."""
    app = _new_app(name)
    app.config[_FOR_OPERATORS] = True

    @app.get("/readyz")
    def readyz() -> Response:
        if reasons := readiness.reasons():
            detail = "; ".join(f"{condition}: {reason}" for condition, reason in reasons.items())
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, reasons=reasons)
        return answer(Status("ready"))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    return app


def _new_app(name: str) -> Flask:
    app = _App(name, static_folder=None)
    app.config[_ORIGINS] = ()
    # Each path has one spelling: another one gets 404, not a redirect, which would name our own address.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False

    @app.get("/healthz")
    def healthz() -> Response:
        return answer(Status("alive"))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(HTTPStatus(error.code or 500), error.description or "")
        for header, value in error.get_headers():
            if header != "Content-Type":
                response.headers[header] = value
        return response

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> Response:
        return _failed(request.method, request.path, id_of_request(), error)

    return app


def answer(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """The content as JSON."""
    return Response(model.encode(content), status, content_type="application/json")


def problem(status: HTTPStatus, detail: str, headers: Sequence[tuple[str, str]] = (), **more: Any) -> Response:
    """An error; `more` are further fields of `Problem`."""
    response = Response(model.encode_problem(status, detail, **more), status, content_type="application/problem+json")
    response.headers.extend(headers)
    return response


def id_of_request() -> str:
    """The id of the request that a view answers."""
    return str(request.environ[_REQUEST_ID])


def body_of_request() -> bytes:
    """The body of the request that a view answers. `Edge` has taken it in, within its bounds."""
    return bytes(request.environ["wsgi.input"].getvalue())


def _failed(method: str, path: str, request_id: str, error: Exception) -> Response:
    log.error("request failed", method=method, path=path, request=request_id, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed on this request; its log says why.")


class _ListeningServer(Server):  # type: ignore[misc]
    """Granian's server on a socket that listens already. Its own sockets share their port with any other process."""

    def __init__(self, target: "RsgiApp", listener: socket.socket, **options: Any) -> None:
        super().__init__(target, **options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian closes it in the end.
        self._shd = SocketHolder(self._listener.detach(), False, self.backlog)


async def serve(app: Flask, listener: socket.socket, stop: asyncio.Event, limits: Limits | None = None) -> None:
    """Answer requests on this socket, which is closed in the end, until `stop` is set.

    Raises EmoStreamError where Granian ends before.
    """
    limits = limits or Limits()
    if sys.platform == "linux":
        # Granian would hold the answer to a client that does not read for as long as the connection lasts. The
        # connections inherit this option, and Linux alone has it.
        timeout_ms = int(1_000 * limits.answer_timeout_seconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    server = _ListeningServer(
        RsgiApp(app, limits),
        listener,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEAD_TIMEOUT_MS, max_buffer_size=_MAX_HEAD_BYTES),
        websockets=False,
        backpressure=limits.connections,
        log_enabled=False,
        **(tls.admin_server_options() if app.config.get(_FOR_OPERATORS) else {}),
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        stopping.cancel()
        await serving
        raise EmoStreamError(f"the HTTP server of {app.name} ended unexpectedly; the log lines above say why.")
    server.stop()
    await serving


@dataclass
class ThreadedServer:
    """A server in a thread of its own, for a tier whose main thread does other work."""

    app: Flask
    listener: socket.socket
    limits: Limits = field(default_factory=Limits)
    on_failure: Callable[[], object] = field(default=lambda: os._exit(1))
    """Called in the thread where it ends by an error, which is logged: ends the process, as its supervisor expects."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stop: asyncio.Event | None = field(default=None, init=False)
    _started: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End it, after the requests at work."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            log.error("the HTTP server has failed, so the process ends", exc_info=error)
            self.on_failure()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await serve(self.app, self.listener, self._stop, self.limits)


def serve_admin(
    name: str,
    readiness: Readiness,
    listener: socket.socket,
    figures: Mapping[str, Callable[[], object]] = MappingProxyType({}),
) -> ThreadedServer:
    """Answer operators on this socket, beside the main thread, so that /metrics holds up nothing else.

    `figures` are more paths, each with what it answers as JSON. They are called in the server's thread.
    """
    app = create_admin_app(name, readiness)
    for path, figure in figures.items():
        app.add_url_rule(path, path, lambda figure=figure: answer(figure()))
    return ThreadedServer(app, listener, Limits(connections=MAX_ADMIN_CONNECTIONS))


class _RefusedError(Exception):
    """The request is answered before Flask sees it. `is_sending`: whether its client may still send a body."""

    def __init__(self, response: Response, *, is_sending: bool = True) -> None:
        super().__init__()
        self.response = response
        self.is_sending = is_sending
        # What is left of the body goes with the connection.
        response.headers["Connection"] = "close"


class _ClientGoneError(Exception):
    """The connection ended before the whole body was there: there is nobody to answer."""


class RsgiApp:
    """Between Granian (RSGI) and Flask: takes the body in, bounded in size and time, and awaits deferred responses."""

    def __init__(self, app: Flask, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._origins: Sequence[str] = app.config.get(_ORIGINS, ())
        self._budget = BodyBudget(limits.receiving_bytes)
        # What anybody may make up is no label of a metric.
        self._paths = {rule.rule for rule in app.url_map.iter_rules()}
        self._patterns = {
            path: re.compile(path.replace("<event>", "[^/]+")) for path in self._paths if "<event>" in path
        }

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        began = time.perf_counter()
        request_id = request_ids.of(scope.headers.get(_REQUEST_ID_HEADER), time.time_ns() // 1_000_000)
        try:
            response = await self._respond(scope, protocol, request_id)
            _load(response)
        except (_ClientGoneError, ProtocolClosed, ProtocolError):
            _dropped_requests.inc()
            return
        except Exception as error:
            response = _failed(scope.method, scope.path, request_id, error)
        path = self._label(scope.path)
        _requests.labels(path, response.status_code).inc()
        _request_seconds.labels(path).observe(time.perf_counter() - began)
        headers = [*response.headers, *self._cors_headers(scope, response), (request_ids.HEADER, request_id)]
        if scope.method == "HEAD":
            protocol.response_empty(response.status_code, headers)
        else:
            protocol.response_bytes(response.status_code, headers, response.get_data())

    def _label(self, path: str) -> str:
        if path in self._paths:
            return path
        return next((name for name, pattern in self._patterns.items() if pattern.fullmatch(path)), _OTHER_PATH)

    async def _respond(self, scope: Any, protocol: Any, request_id: str) -> Response:
        try:
            body = await self._receive_body(scope, protocol)
        except _RefusedError as error:
            # The traceback holds what has come of the body, which is to go before the client has sent on.
            refusal = error.with_traceback(None)
        else:
            return await self._dispatch(_environ(scope, body, request_id))
        if refusal.is_sending:
            await _discard(protocol)
        return refusal.response

    async def _dispatch(self, environ: dict[str, Any]) -> Response:
        """Flask's answer, or that of its error handlers."""
        with self._app.request_context(environ):
            response = self._app.full_dispatch_request()
        if not isinstance(response, Deferred):
            return response
        try:
            return await response.outcome
        except Exception as error:
            with self._app.request_context(environ):
                return self._app.make_response(self._app.handle_user_exception(error))

    async def _receive_body(self, scope: Any, protocol: Any) -> io.BytesIO:
        """The request's whole body. Raises _RefusedError or _ClientGoneError."""
        # Granian ends a broken chunked body like a whole one, and has no bound for it, so a length must be declared.
        pieces, headers, body = aiter(protocol), scope.headers, io.BytesIO()
        if "transfer-encoding" in headers:
            detail = "Send the request's body with a Content-Length."
            raise _RefusedError(problem(HTTPStatus.LENGTH_REQUIRED, detail))
        if scope.http_version == "1.1" and "host" not in headers:
            raise _RefusedError(problem(HTTPStatus.BAD_REQUEST, "An HTTP/1.1 request needs the header Host."))
        length = int(headers.get("content-length", 0))
        if length > self._limits.body_bytes:
            detail = f"A request's body may have {self._limits.body_bytes} bytes at most."
            raise _RefusedError(problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail))
        if not length:
            return body
        try:
            async with asyncio.timeout(self._limits.body_timeout_seconds):
                await self._copy_body(pieces, length, body)
        except TimeoutError:
            detail = "The request's body did not arrive in time."
            raise _RefusedError(problem(HTTPStatus.REQUEST_TIMEOUT, detail), is_sending=False) from None
        finally:
            self._budget.give_back(body.tell())
        body.seek(0)
        return body

    async def _copy_body(self, pieces: Any, length: int, body: io.BytesIO) -> None:
        """Copy what comes, piece by piece: a piece keeps a whole read buffer of Granian's, however short it is."""
        while body.tell() < length:
            piece = await anext(pieces)
            if not piece:
                raise _ClientGoneError
            if not self._budget.take(len(piece), length):
                _refused_bodies.inc()
                detail = "Too many bytes of other requests are being received; this request was not accepted."
                retry = [("Retry-After", str(_RETRY_AFTER_SECONDS))]
                raise _RefusedError(problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, retry))
            body.write(piece)

    def _cors_headers(self, scope: Any, response: Response) -> cors.Headers:
        """Let pages of the allowed origins read the answer, whether Flask or `Edge` gave it.

        Granian's own answers, to a head that is malformed (400) or too large (431), have no such headers: they do not
        come by here, and Granian has no setting for them. A page sees a network error in their place.
        """
        if not self._origins:
            return []
        origin = scope.headers.get("origin")
        allowed = cors.headers(self._origins, origin)
        if scope.method == "OPTIONS":
            requested = scope.headers.get("access-control-request-headers")
            methods = response.headers.get("Allow", "GET, POST")
            allowed += cors.preflight(self._origins, origin, methods, requested)
        return allowed


def _load(response: Response) -> None:
    """Hold the whole body in memory (the page's files are small), and let go of what it comes from."""
    response.direct_passthrough = False
    response.make_sequence()
    response.close()


async def _discard(pieces: Any) -> None:
    """Let a client send on for a moment: one that is cut off while it sends does not read why."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await anext(pieces):
                pass


def _environ(scope: Any, body: io.BytesIO, request_id: str) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request that has been taken in."""
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # Granian decodes the path; WSGI wants its bytes, each as one character.
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        # It ends by itself, so nobody need count what is read of it.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # X_Y would stand for X-Y.
        if "_" not in name:
            environ[_variable(name)] = value
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(body.getbuffer().nbytes)
    environ[_REQUEST_ID] = request_id
    return environ


@functools.lru_cache(256)
def _variable(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


_REQUEST_ID = _variable(request_ids.HEADER)
_REQUEST_ID_HEADER = request_ids.HEADER.lower()
