"""The HTTP edge of the Flask tiers: Granian's server around a Flask app, in one process, on one event loop.

A request is taken in whole before Flask sees it, and a view that must wait (for Kafka) returns a `Deferred` response.
So no thread ever waits, for a client that does not finish its body as little as for a broker that does not answer, and
/healthz is always answered at once.
"""

import asyncio
import contextlib
import functools
import io
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import uvloop
from flask import Flask, Request, Response, jsonify, request
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.rsgi import ProtocolClosed, ProtocolError
from granian.server.embed import Server
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from emostream.runtime import logs
from emostream.runtime.readiness import Readiness

log = logs.get(__name__)

_HEAD_TIMEOUT_MS = 10_000
_LINGER_SECONDS = 1.0
_PREFLIGHT_SECONDS = "86400"

_requests = Counter(
    "emostream_http_requests_total", "Requests by their path and the status of the answer.", ["path", "status"]
)
_dropped_requests = Counter(
    "emostream_http_dropped_requests_total",
    "Requests whose client went away before its whole body was there, or its answer.",
)
_OTHER_PATH = "other"


class Deferred(Response):
    """What a view returns when its answer is not decided yet; the edge awaits `outcome` and sends that instead."""

    default_mimetype = None

    def __init__(self, outcome: Awaitable[Response]) -> None:
        super().__init__()
        self.outcome = outcome

    def __call__(self, *_: Any) -> Any:
        raise RuntimeError("a deferred response needs the edge of emostream.runtime.http, not a plain WSGI server")


class _App(Flask):
    """Flask without what each request would pay for and none of ours needs: coroutines as views, routes by host."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        environ = request.environ
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
    """What the edge takes from a client; the connections past `connections` wait to be accepted."""

    body_bytes: int = 64 << 10
    body_timeout_seconds: float = 5
    connections: int = 10_000


def create_app(name: str, readiness: Readiness, cors_origins: Sequence[str] = ()) -> Flask:
    """A Flask app with what each service answers: /healthz, /readyz, /metrics, CORS, and errors as problem+json."""
    app = _App(name, static_folder=None)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @app.get("/readyz")
    def readyz() -> Response:
        if reasons := readiness.reasons():
            detail = "; ".join(f"{condition}: {reason}" for condition, reason in reasons.items())
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, reasons=reasons)
        return jsonify(status="ready")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(HTTPStatus(error.code or 500), error.description or "")
        for header, value in error.get_headers():
            if header != "Content-Type":
                response.headers[header] = value
        return response

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> Response:
        log.error("request failed", method=request.method, path=request.path, exc_info=error)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed at this request; its log says why.")

    if cors_origins:
        _allow_origins(app, cors_origins)
    return app


def problem(status: HTTPStatus, detail: str, headers: Sequence[tuple[str, str]] = (), **more: Any) -> Response:
    """An error as RFC 9457 has it; `more` are its extension members."""
    content = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail, **more}
    body = json.dumps(content, ensure_ascii=False)
    response = Response(body, status, content_type="application/problem+json")
    response.headers.extend(headers)
    return response


class _ListeningServer(Server):  # type: ignore[misc]
    """Granian's server on a socket that listens already. Its own sockets share their port with any other process."""

    def __init__(self, target: "Edge", listener: socket.socket, **options: Any) -> None:
        super().__init__(target, **options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian closes it in the end.
        self._shd = SocketHolder(self._listener.detach(), False, self.backlog)


async def serve(app: Flask, listener: socket.socket, stop: asyncio.Event, limits: Limits | None = None) -> None:
    """Answer requests on this socket, which is closed in the end, until `stop` is set."""
    limits = limits or Limits()
    server = _ListeningServer(
        Edge(app, limits),
        listener,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEAD_TIMEOUT_MS),
        websockets=False,
        backpressure=limits.connections,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.stop()
    await serving


@dataclass
class ThreadedServer:
    """A server in a thread of its own, for a tier whose main thread does other work."""

    app: Flask
    listener: socket.socket
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stop: asyncio.Event | None = field(default=None, init=False)
    _started: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="http", daemon=True)
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End it, after the requests at work."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await serve(self.app, self.listener, self._stop)


def serve_in_thread(app: Flask, listener: socket.socket) -> ThreadedServer:
    """Answer requests on this socket beside the main thread."""
    return ThreadedServer(app, listener)


class Edge:
    """Between Granian (RSGI) and Flask: takes the body in, bounded in size and time, and awaits deferred responses."""

    def __init__(self, app: Flask, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        # What anybody may make up is no label of a metric.
        self._paths = {rule.rule for rule in app.url_map.iter_rules()}

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        try:
            response = await self._respond(scope, protocol)
        except (ProtocolClosed, ProtocolError):
            # Cut off: there is nobody to answer.
            _dropped_requests.inc()
            return
        _requests.labels(scope.path if scope.path in self._paths else _OTHER_PATH, response.status_code).inc()
        headers = list(response.headers.items())
        if scope.method == "HEAD":
            protocol.response_empty(response.status_code, headers)
            return
        # A file is sent from memory: ours are small.
        response.direct_passthrough = False
        protocol.response_bytes(response.status_code, headers, response.get_data())

    async def _respond(self, scope: Any, protocol: Any) -> Response:
        # Granian ends a broken chunked body like a whole one, and has no bound for it, so a length must be declared.
        if "transfer-encoding" in scope.headers:
            await self._discard(protocol)
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "Send the request's body with a Content-Length.")
        if int(scope.headers.get("content-length", 0)) > self._limits.body_bytes:
            await self._discard(protocol)
            detail = f"A request's body may have {self._limits.body_bytes} bytes at most."
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        try:
            async with asyncio.timeout(self._limits.body_timeout_seconds):
                body: bytes = await protocol()
        except TimeoutError:
            return self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request's body did not come in time.")
        with self._app.request_context(_environ(scope, body)):
            response = self._app.full_dispatch_request()
        if isinstance(response, Deferred):
            cors = [header for header in response.headers if header[0].startswith("Access-Control")]
            response = await response.outcome
            response.headers.extend(cors)
        return response

    @staticmethod
    async def _discard(protocol: Any) -> None:
        """Let a client send on for a moment: one that is cut off while it sends does not read why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                async for _ in protocol:
                    pass

    @staticmethod
    def _refuse(status: HTTPStatus, detail: str) -> Response:
        """An answer to a request that Flask does not see; what is left of its body goes with the connection."""
        return problem(status, detail, [("Connection", "close")])


def _environ(scope: Any, body: bytes) -> dict[str, Any]:
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
        "wsgi.input": io.BytesIO(body),
        # It ends by itself, so nobody need count what is read of it.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        environ[_variable(name)] = value
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


@functools.lru_cache(256)
def _variable(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


def _allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of these origins (`*`: of any) read the answers, and send JSON."""

    @app.after_request
    def add_headers(response: Response) -> Response:
        origin = request.environ.get("HTTP_ORIGIN")
        if origin is None or not ("*" in origins or origin in origins):
            return response
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        if "*" not in origins:
            response.headers.add("Vary", "Origin")
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, POST")
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
        return response
