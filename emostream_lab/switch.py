"""The switch of the demo: a small HTTP server by which the page of the topology kills processes.

It listens on loopback, and answers only the page that the demo's own registry serves: another page that is open in the
same browser must not stop anything.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from emostream.errors import EmoStreamError
from emostream_lab import breaker
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.topology import Part

_PATH = "/processes"


@contextlib.contextmanager
def serving(port: int, parts: Sequence[Part], state_file: Path, page_port: int) -> Iterator[None]:
    """Serve in a thread of its own. `state_file` is the supervisor's, `page_port` the registry's.

    Raises EmoStreamError if the port is taken.
    """
    origins = {f"http://{host}:{page_port}" for host in (HOST, "localhost")}
    told = [{"name": part.name, "tier": part.tier, "ports": part.ports} for part in parts if not part.runs_once]
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(told, origins, lambda name: _kill(state_file, name)))
    except OSError as error:
        raise EmoStreamError(
            f"port {port} cannot be bound ({error}): `ss -ltnp` names what has it; stop that."
        ) from error
    threading.Thread(target=server.serve_forever, name="switch", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _kill(state_file: Path, name: str) -> tuple[HTTPStatus, str]:
    try:
        victim = breaker.choose(breaker.read_rows(state_file), name, lambda rows: rows[0])
    except EmoStreamError as error:
        return HTTPStatus.CONFLICT, str(error)
    assert victim.pid is not None, "choose gives one that runs"  # noqa: S101
    os.kill(victim.pid, signal.SIGKILL)
    return HTTPStatus.OK, f"Killed {victim.name} (SIGKILL). The demo starts it again."


def _handler(
    parts: list[dict[str, Any]], origins: set[str], kill: Callable[[str], tuple[HTTPStatus, str]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self._answer(HTTPStatus.OK, {})

        def do_GET(self) -> None:
            self._answer(*((HTTPStatus.OK, parts) if self.path == _PATH else _NOT_FOUND))

        def do_DELETE(self) -> None:
            folder, _, name = self.path.rpartition("/")
            if self._is_of_the_page() and folder == _PATH and name:
                status, detail = kill(unquote(name))
                self._answer(status, {"detail": detail})
            else:
                self._answer(*_NOT_FOUND)

        def _is_of_the_page(self) -> bool:
            return self.headers.get("Origin") in origins

        def _answer(self, status: HTTPStatus, content: object) -> None:
            if not self._is_of_the_page():
                status, content = HTTPStatus.FORBIDDEN, {"detail": "This is for the page of the demo alone."}
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if self._is_of_the_page():
                self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
                self.send_header("Access-Control-Allow-Methods", "GET, DELETE")
                self.send_header("Vary", "Origin")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the demo's output to the demo."""

    return Handler


_NOT_FOUND = (HTTPStatus.NOT_FOUND, {"detail": "There is no such path."})
