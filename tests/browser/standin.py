"""Stands in for ingest, registry and subscriber, on one port. The registry's own code serves the page's files.

A test says what it answers and sends. That of `tests.stand_in` is a process which counts by itself.
"""

import itertools
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request
from werkzeug.serving import make_server

from emostream.registry import page
from emostream_lab.processes.servers import HOST

PALETTE = ["🔥", "🎉", "👏", "😂", "😍", "💯", "🚀", "👀", "🙌", "❤️"]
STREAM = "s"


class StandIn:
    """Keeps what was sent to it, and sends the swarms that a test wants."""

    def __init__(self) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.traces: list[int] = []
        self.assignments = 0
        # The token of each request that has one, with its path.
        self.tokens: list[tuple[str, str]] = []
        self.totals: dict[str, int] = {}
        self.sequence = 0
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.palette_status = 200
        self.is_full = False
        self.has_live_topology = True
        # The addresses of the streams, if a subscriber stands elsewhere.
        self.streams: dict[str, str] = {}
        self.processes: list[dict[str, Any]] = []
        self.viewers: set[queue.SimpleQueue[str | None]] = set()
        # By swarm: up to which record it counts. Each request is a record.
        self.counted: dict[int, int] = {0: 0}
        self._server = make_server(HOST, 0, self._app(), threaded=True)
        self.url = f"http://{HOST}:{self._server.server_port}"
        # Where the page finds ingest, which another server may stand before.
        self.ingest_url = self.url
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        for viewer in list(self.viewers):
            viewer.put(None)
        self._server.shutdown()
        self._server.server_close()

    @property
    def taps(self) -> list[str]:
        return [reaction["emoji_type"] for each in self.requests for reaction in each]

    def swarm(self, counts: dict[str, int], window_ms: int = 2_000) -> None:
        """Send a swarm that counts all records so far."""
        self.sequence += 1
        for emoji, count in counts.items():
            self.totals[emoji] = self.totals.get(emoji, 0) + count
        self.counted[self.sequence] = len(self.requests)
        message = {
            "id": f"{STREAM}-{self.sequence}",
            "sequence": self.sequence,
            "window": {"start": 0, "end": window_ms},
            "reactions": sum(counts.values()),
            "counts": counts,
            "swarm": {emoji: -(-count // 1_000) for emoji, count in counts.items()},
            "totals": {emoji: self.totals[emoji] for emoji in counts},
        }
        self._tell("swarm", message)

    def lose(self) -> None:
        """Lose all viewers, and take none any more."""
        self.is_full = True
        for viewer in list(self.viewers):
            viewer.put(None)

    def end(self) -> None:
        self.sequence += 1
        self._tell("end", {"id": f"{STREAM}-{self.sequence}", "sequence": self.sequence, "totals": self.totals})

    def _tell(self, kind: str, message: dict[str, Any]) -> None:
        for viewer in list(self.viewers):
            viewer.put(_event(kind, message))

    def _app(self) -> Flask:
        app = Flask("standin", static_folder=None)
        page.add_to(app)

        @app.before_request
        def note_token() -> None:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme == "Bearer":
                self.tokens.append((request.path, token))

        @app.after_request
        def allow(response: Response) -> Response:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            return response

        for prefix in ("/v1", "/v1/events/<event>"):
            app.add_url_rule(f"{prefix}/palette", f"{prefix}-palette", self._palette)
            app.add_url_rule(f"{prefix}/reactions", f"{prefix}-reactions", self._react, methods=["POST"])
        app.add_url_rule("/readyz", "readyz", dict[str, str])
        app.add_url_rule("/v1/config", "config", self._config)
        app.add_url_rule("/v1/topology/live", "topology", lambda: {"processes": self.processes, "stale_since": None})
        app.add_url_rule("/v1/events", "events", self._events)
        app.add_url_rule("/v1/assignments", "assignments", self._assign, methods=["POST"])
        app.add_url_rule("/v1/stream", "stream", self._stream)
        app.add_url_rule("/v1/trace", "trace", self._trace)
        return app

    def _palette(self, event: str = "main") -> tuple[dict[str, Any], int]:
        return {"emoji": PALETTE, "any": False, "detail": f"no palette of {event}"}, self.palette_status

    def _react(self, event: str = "main") -> tuple[dict[str, Any], int]:
        body = request.get_json()
        if self.refusal is not None:
            status, problem = self.refusal
            return {"event": event, **problem}, status
        self.requests.append(body if isinstance(body, list) else [body])
        offset = len(self.requests) - 1
        record = {"partition": 0, "offset": offset, "timestamp": 1}
        return {"accepted": len(self.requests[-1]), "record": record}, 202

    def _config(self) -> dict[str, Any]:
        return {"ingest_url": self.ingest_url, "live_topology": self.has_live_topology}

    def _events(self) -> dict[str, Any]:
        figures = {"viewers": 501, "reactions": sum(self.totals.values()), "reactions_per_second": 0}
        return {"events": [{"event": "main", "title": "Main", **figures}]}

    def _assign(self) -> tuple[dict[str, str], int, dict[str, str]]:
        self.assignments += 1
        if self.is_full:
            return {"detail": "every subscriber is full"}, 503, {"Retry-After": "4"}
        streams = self.streams or {"sse_url": f"{self.url}/v1/stream"}
        return {"subscriber": "cluster1/9001", "cluster": "cluster1", **streams}, 200, {}

    def _stream(self) -> Response:
        viewer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        state = {"id": f"{STREAM}-{self.sequence}", "sequence": self.sequence, "totals": self.totals}
        viewer.put(_event("snapshot", state))
        self.viewers.add(viewer)

        def frames() -> Iterator[str]:
            try:
                for _ in itertools.count():
                    try:
                        frame = viewer.get(timeout=0.5)
                    except queue.Empty:
                        # Only a write shows that a viewer has left.
                        frame = ": heartbeat\n\n"
                    if frame is None:
                        return
                    yield frame
            finally:
                self.viewers.discard(viewer)

        return Response(frames(), mimetype="text/event-stream")

    def _trace(self) -> tuple[dict[str, Any], int]:
        sequence = int(request.args["sequence"])
        self.traces.append(sequence)
        if sequence not in self.counted:
            return {"detail": "not here"}, 404
        return {"sequence": sequence, "counted": {"0": self.counted[sequence]}}, 200


def _event(kind: str, message: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(message)}\n\n"
