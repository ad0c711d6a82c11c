"""The server: which request gets which answer, how many connections there may be, and what is due by time."""

import asyncio
import heapq
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.http11 import Request as WebSocketRequest
from websockets.server import ServerProtocol

from emostream import model
from emostream.config import SubscriberSettings
from emostream.events.table import Definition
from emostream.model import MAIN, MAX_EVENT_CHARACTERS, EventPart
from emostream.runtime import cors
from emostream.runtime.readiness import NOT_READY, Readiness
from emostream.subscriber import frames, http, metrics
from emostream.subscriber.audience import Audience, Seats
from emostream.subscriber.channel import Channel, ViewersByEvent
from emostream.subscriber.connection import (
    Admission,
    DeflateWebSocketViewer,
    Handshake,
    SseViewer,
    WebSocketViewer,
)
from emostream.subscriber.history import Change, Entry, History
from emostream.tokens.gate import Gate, RefusedError

# Connections that are no viewers' (yet): room for a whole audience that connects at once. Past it the oldest is
# dropped, and counted, because one that has been silent for long is the least likely to become a viewer's.
MAX_HANDSHAKES = 4_096
_SWEEP_SECONDS = 0.1
_RETRY_AFTER_SECONDS = 2

Route = Callable[[http.Request], bytes | Admission]


class Server:
    """Routes requests, and holds what the connections share. Used from the event loop's thread alone."""

    def __init__(self, settings: SubscriberSettings, readiness: Readiness, gate: Gate) -> None:
        self._settings = settings
        self._readiness = readiness
        self._gate = gate
        self._seats = Seats()
        main = self._new_channel()
        self.history, self.audience = main.history, main.audience
        # By event: `main`, and those of the newest record.
        self.channels: dict[str, Channel] = {MAIN: main}
        # The events as ZooKeeper has them.
        self.definitions = dict[str, Definition]()
        self._hello = frames.of(model.Hello(settings.heartbeat_ms))
        self.is_draining = False
        # When each is to be expired; all have the same time, so the first is always the next.
        self._handshakes: dict[Handshake, float] = {}
        self._routes: dict[str, Route] = {
            "/v1/stream": self._stream,
            "/v1/ws": self._websocket,
            "/v1/trace": self._trace,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        # These are read by the admin listener's thread, so each must be safe beside the event loop, and quick.
        self._viewers = ViewersByEvent(self.channels, settings.max_event_labels)
        metrics.BEHIND.set_function(lambda: self._sum(lambda each: each.audience.count_behind()))
        metrics.HISTORY_SWARMS.set_function(lambda: self._sum(lambda each: len(each.history)))
        metrics.HISTORY_BYTES.set_function(lambda: self._sum(lambda each: each.history.size_bytes))
        metrics.CAPACITY.set(settings.capacity)

    def _sum(self, figure: Callable[[Channel], int]) -> int:
        return sum(map(figure, list(self.channels.values())))

    def _new_channel(self) -> Channel:
        settings = self._settings
        history = History(settings.history_seconds * 1_000, settings.max_history_bytes)
        audience = Audience(
            history,
            heartbeat_ms=settings.heartbeat_ms,
            slow_viewer_timeout_ms=settings.slow_viewer_timeout_ms,
            max_ahead_ms=settings.max_ahead_seconds * 1_000,
            # A part of the buffer, so that a replay hardly overfills it.
            replay_chunk_bytes=settings.max_viewer_buffer_bytes // 2,
            send=os.write,
            soon=asyncio.get_running_loop().call_soon,
            seats=self._seats,
        )
        return Channel(history, audience)

    @property
    def viewers(self) -> int:
        """The viewers of all events, with those that are about to leave."""
        return self._seats.taken

    def figures(self) -> list[dict[str, Any]]:
        """Each event with its viewers, its reactions, and how fast they come. Any thread may ask."""
        now_ms = _monotonic_ms()
        return [
            {
                "event": event,
                "viewers": sum(channel.audience.count(kind) for kind in range(len(frames.KINDS))),
                "reactions": sum(state.totals.values()) if (state := channel.history.state) else 0,
                "reactions_per_second": channel.reactions_per_second(now_ms),
            }
            for event, channel in list(self.channels.items())
        ]

    def publish(
        self, entry: Entry, totals: model.Counts, parts: Mapping[str, EventPart] = MappingProxyType({})
    ) -> Change:
        """Fan one record of the cluster's topic out, now: the swarm of `main`, and the `parts` of the other events."""
        started, now_ms = time.perf_counter(), _monotonic_ms()
        window = model.Window(entry.window_start, entry.window_end)
        change = Change.REPEAT
        for event in self._smallest_first(entry, parts):
            if event == MAIN:
                change = self.audience.publish(entry, totals, now_ms)
            else:
                self.channels[event].take(parts[event], entry, window, now_ms)
        if change is not Change.REPEAT:
            self.channels[MAIN].count(totals, now_ms)
            self._follow(parts, now_ms)
        self._seats.publish_metrics()
        metrics.FAN_OUT.observe(time.perf_counter() - started)
        if change is not Change.REPEAT:
            metrics.HEAD.set(entry.sequence)
            if len(self.audience) and entry.window_end:
                # The window is of the aggregator's clock. If that one is ahead of ours, the age would be negative.
                metrics.AGE.observe(max(0.0, time.time() - entry.window_end / 1_000))
        return change

    def _smallest_first(self, record: Entry, parts: Mapping[str, EventPart]) -> list[str]:
        """Return the events of a record in the order in which they get it: no audience waits for a larger one.

        It is `main` alone if the record is a repeat.
        """
        if not parts or self.history.is_repeat((record.stream, record.sequence)):
            return [MAIN]
        for event in parts:
            if event not in self.channels:
                self.channels[event] = self._new_channel()
        return sorted([MAIN, *parts], key=lambda event: len(self.channels[event].audience))

    def _follow(self, parts: Mapping[str, EventPart], now_ms: int) -> None:
        """Let go of events that are not in the newest record, and keep all histories together within their bound."""
        for event in self.channels.keys() - parts.keys() - {MAIN}:
            # It was archived.
            audience = self.channels[event].audience
            for viewer in audience.viewers():
                audience.dismiss(viewer, "draining", now_ms)
            if not len(audience):
                del self.channels[event]
        self._viewers.follow(parts)
        if len(self.channels) > 1:
            self._share_memory()

    def _share_memory(self) -> None:
        """Let the largest histories forget first, so that a large event pushes out nothing of a small one."""
        excess_bytes = self._sum(lambda each: each.history.size_bytes) - self._settings.max_history_bytes
        if excess_bytes <= 0:
            return
        largest = [(-each.history.size_bytes, event) for event, each in self.channels.items()]
        heapq.heapify(largest)
        while excess_bytes > 0 and largest:
            size_bytes, event = largest[0]
            history = self.channels[event].history
            if not history.drop_oldest():
                heapq.heappop(largest)
                continue
            excess_bytes -= -size_bytes - history.size_bytes
            heapq.heapreplace(largest, (-history.size_bytes, event))

    async def sweep_forever(self) -> None:
        """Do what is due by time: heartbeats, slow viewers, handshakes that take too long."""
        while True:
            now_ms = _monotonic_ms()
            for channel in self.channels.values():
                if len(channel.audience):
                    channel.audience.sweep(now_ms)
            self._expire_handshakes(time.monotonic())
            await asyncio.sleep(_SWEEP_SECONDS)

    async def drain(self) -> None:
        """Say goodbye to all viewers, spread over the drain time, so that they do not all ask the registry at once."""
        self.is_draining = True
        audiences = [channel.audience for channel in self.channels.values()]
        viewers = [(viewer, audience) for audience in audiences for viewer in audience.viewers()]
        random.shuffle(viewers)
        started = time.monotonic()
        for number, (viewer, audience) in enumerate(viewers):
            due = started + self._settings.drain_timeout_ms / 1_000 * number / len(viewers)
            if (wait_seconds := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_seconds)
            if viewer in audience:
                audience.dismiss(viewer, "draining", _monotonic_ms())
        # The sweep cuts those that do not go.
        while self.viewers:  # noqa: ASYNC110 (the audience knows no event loop, so it can set no event)
            await asyncio.sleep(_SWEEP_SECONDS)

    # What connections ask of their host.

    def opened(self, handshake: Handshake) -> None:
        if len(self._handshakes) >= MAX_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.abort()
            metrics.DROPPED_HANDSHAKES.inc()
        self._handshakes[handshake] = time.monotonic() + self._settings.handshake_timeout_ms / 1_000

    def closed(self, handshake: Handshake) -> None:
        self._handshakes.pop(handshake, None)

    def admit(self, transport: asyncio.Transport, admission: Admission) -> None:
        # A viewer is paused as soon as something waits to be sent: what may be unread is in the kernel's buffer.
        transport.set_write_buffer_limits(high=0)
        audience = self.channels[admission.event].audience
        viewer = admission.viewer_type(transport, audience, admission.kind, admission.heartbeat)
        transport.set_protocol(viewer)
        stays = admission.stays_seconds
        leaves_at = None if stays is None else math.ceil(time.monotonic() + stays)
        audience.join(viewer, admission.preamble, admission.last_id, leaves_at)

    def respond(self, request: http.Request) -> bytes | Admission:
        route = self._route(request)
        if request.method == "HEAD":
            # As GET, but nobody takes a seat.
            answer = self._not_found(request) if route is None else route(request)
            return http.head_of(answer.preamble if isinstance(answer, Admission) else answer)
        if route is None:
            return self._not_found(request)
        if request.method == "OPTIONS":
            return http.head(HTTPStatus.NO_CONTENT, [*self._preflight(request), *self._cors(request)])
        if request.method != "GET":
            detail = f"{request.path} allows only {_METHODS}."
            return http.problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, [("Allow", _METHODS), *self._cors(request)])
        return route(request)

    def refuse(self, status: HTTPStatus, detail: str, headers: http.Headers) -> bytes:
        return http.problem(status, detail, cors.headers(self._settings.cors_origins, http.find(headers, "origin")))

    # The routes.

    def _route(self, request: http.Request) -> Route | None:
        """Find the route of a request, and the event that it is about."""
        path = request.path
        if path.startswith(_EVENTS_PREFIX):
            request.event, _, kind = path.removeprefix(_EVENTS_PREFIX).partition("/")
            path = f"/v1/{kind}" if kind in _EVENT_KINDS else ""
        return self._routes.get(path)

    def _missing_event(self, request: http.Request) -> bytes | None:
        """Return the refusal if there is no such event here, else None."""
        if request.event in self.channels:
            return None
        event = request.event[: MAX_EVENT_CHARACTERS + 1]
        if request.event in self.definitions:
            metrics.REFUSALS.labels("starting").inc()
            headers = [("Retry-After", str(_RETRY_AFTER_SECONDS)), *self._cors(request)]
            detail = f"The event {event} has not come to this subscriber yet."
            return http.problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers, event=event)
        metrics.REFUSALS.labels("unknown event").inc()
        detail = f"There is no event {event}."
        return http.problem(HTTPStatus.NOT_FOUND, detail, self._cors(request), event=event)

    def _is_over(self, request: http.Request) -> bool:
        """Whether the viewer has seen the end of its event."""
        history = self.channels[request.event].history
        seen = model.parse_message_id(_last_id(request) or "")
        if not history.has_ended or history.state is None or seen is None:
            return False
        return seen[0] == history.state.stream and seen[1] >= history.state.sequence

    def _not_found(self, request: http.Request) -> bytes:
        return http.problem(HTTPStatus.NOT_FOUND, f"There is nothing at {request.path}.", self._cors(request))

    def _stream(self, request: http.Request) -> bytes | Admission:
        if refused := self._refuse_viewer(request):
            return refused
        if reason := self._refusal():
            headers = [("Retry-After", str(_RETRY_AFTER_SECONDS)), *self._cors(request)]
            return http.problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers)
        if missing := self._missing_event(request):
            return missing
        if self._is_over(request):
            # This stops an EventSource.
            return http.head(HTTPStatus.NO_CONTENT, self._cors(request))
        headers = [*_EVENT_STREAM, *self._cors(request)]
        retry = frames.retry(int(self._settings.retry_ms * random.uniform(0.5, 1.5)))  # noqa: S311 (no secret)
        if self._settings.compression and request.accepts_gzip:
            head = http.head(HTTPStatus.OK, [*headers, ("Content-Encoding", "gzip")])
            return self._admission(
                request, SseViewer, frames.SSE_GZIP, head + frames.GZIP_HEADER + frames.gzipped(retry)
            )
        return self._admission(request, SseViewer, frames.SSE, http.head(HTTPStatus.OK, headers) + retry)

    def _websocket(self, request: http.Request) -> bytes | Admission:
        if refused := self._refuse_viewer(request):
            return refused
        # Whoever sends HEAD cannot become a viewer, so it gets the answer to a request that offers no WebSocket.
        headers = Headers(request.headers if request.method == "GET" else ())
        offer = WebSocketRequest(request.target, headers, "GET", f"HTTP/{request.version}")
        try:
            key, extensions, _ = _HANDSHAKES.process_request(offer)
        except InvalidHandshake as error:
            response = ServerProtocol().accept(offer)
            kept = [(name, value) for name, value in response.headers.raw_items() if name not in _REPLACED_HEADERS]
            return http.problem(HTTPStatus(response.status_code), str(error), [*kept, *self._cors(request)])
        # A browser that offers subprotocols fails if none is chosen.
        chosen = [("Sec-WebSocket-Protocol", http.PROTOCOL)] if http.PROTOCOL in request.offered_protocols else []
        # All viewers share a compressed message, so none is compressed for a viewer that asks for a smaller window.
        is_compressed = self._settings.compression and extensions == _SHARED_DEFLATE
        if is_compressed:
            chosen.append(("Sec-WebSocket-Extensions", _SHARED_DEFLATE))
        accepted = http.head(HTTPStatus.SWITCHING_PROTOCOLS, [*_UPGRADE, ("Sec-WebSocket-Accept", key), *chosen])
        if reason := self._refusal():
            return accepted + frames.close(CloseCode.TRY_AGAIN_LATER, reason)
        if missing := self._missing_event(request):
            return missing
        if self._is_over(request):
            return accepted + frames.close(model.CLOSE_ENDED, "the event has ended")
        kind = frames.WS_DEFLATE if is_compressed else frames.WS
        return self._admission(request, DeflateWebSocketViewer if is_compressed else WebSocketViewer, kind, accepted)

    def _trace(self, request: http.Request) -> bytes:
        if refused := self._refuse_without_token(request):
            return refused
        if missing := self._missing_event(request):
            return missing
        history = self.channels[request.event].history
        query = {name: request.query.get(name, "") for name in ("sequence", "partition", "offset")}
        if _is_natural(query["sequence"]):
            entry = history.at(int(query["sequence"]))
        elif _is_natural(query["partition"]) and _is_natural(query["offset"]):
            entry = history.covering(str(int(query["partition"])), int(query["offset"]))
        else:
            detail = (
                "Name a record of `reactions`, /v1/trace?partition=0&offset=17, or a swarm, /v1/trace?sequence=812, "
                "by natural numbers."
            )
            return http.problem(HTTPStatus.BAD_REQUEST, detail, self._cors(request))
        if entry is None:
            detail = "The history holds no swarm for this request: it has not come yet, or it is too old."
            return http.problem(HTTPStatus.NOT_FOUND, detail, self._cors(request))
        content = {
            "sequence": entry.sequence,
            "id": model.message_id(entry.stream, entry.sequence),
            "window_end": entry.window_end,
            "swarms_timestamp": entry.swarms_timestamp,
            "cluster_timestamp": entry.cluster_timestamp,
            "received_timestamp": entry.received_timestamp,
            "counted": dict(entry.counted),
        }
        return http.answer(HTTPStatus.OK, "application/json", model.encode(content), self._cors(request))

    def _healthz(self, request: http.Request) -> bytes:
        return http.answer(HTTPStatus.OK, "application/json", b'{"status":"alive"}', self._cors(request))

    def _readyz(self, request: http.Request) -> bytes:
        if not self._readiness.is_ready():
            return http.problem(HTTPStatus.SERVICE_UNAVAILABLE, NOT_READY, self._cors(request))
        return http.answer(HTTPStatus.OK, "application/json", b'{"status":"ready"}', self._cors(request))

    def _admission(
        self,
        request: http.Request,
        viewer_type: type[SseViewer | WebSocketViewer],
        transport_kind: int,
        preamble: bytes,
    ) -> Admission:
        kind = transport_kind + frames.FORMS[_form(request)]
        heartbeat = frames.HEARTBEAT[kind]
        if request.query.get("heartbeats") == "1":
            preamble, heartbeat = preamble + self._hello[kind], frames.VISIBLE_HEARTBEAT[kind]
        return Admission(
            viewer_type, kind, preamble, heartbeat, _last_id(request), request.event, request.stays_seconds
        )

    def _refusal(self) -> str:
        """Why no viewer is taken in now, counted; empty if one is."""
        if self.is_draining:
            label, reason = "draining", "This subscriber is leaving; ask the registry for another one."
        elif self.history.state is None:
            label, reason = "starting", "This subscriber has not read its cluster's topic yet."
        elif self.viewers >= self._settings.capacity:
            label, reason = "full", "This subscriber is full; ask the registry for another one."
        else:
            return ""
        metrics.REFUSALS.labels(label).inc()
        return reason

    def _refuse_viewer(self, request: http.Request) -> bytes | None:
        """The refusal of a page that may not watch, of a token that does not let its viewer, or of an unknown form."""
        if cors.allows(self._settings.cors_origins, request.header("origin")):
            return self._refuse_without_token(request) or self._refuse_form(request)
        metrics.REFUSALS.labels("origin").inc()
        detail = (
            f"Pages of {request.header('origin')} may not watch; "
            f"{SubscriberSettings.variable('cors_origins')} names those that may."
        )
        return http.problem(HTTPStatus.FORBIDDEN, detail, self._cors(request))

    def _refuse_without_token(self, request: http.Request) -> bytes | None:
        try:
            claims = self._gate.check(request.token, request.event, "watch")
        except RefusedError as refused:
            metrics.REFUSALS.labels("token").inc()
            return http.problem(refused.status, refused.detail, [*refused.headers, *self._cors(request)])
        if claims is not None:
            jitter_seconds = random.uniform(0, self._gate.jitter_seconds)  # noqa: S311 (no secret)
            request.stays_seconds = max(0.0, claims.expires - time.time()) + jitter_seconds
        return None

    def _refuse_form(self, request: http.Request) -> bytes | None:
        if _form(request) in frames.FORMS:
            return None
        metrics.REFUSALS.labels("form").inc()
        detail = f"`form` is {' or '.join(frames.FORMS)}, not {_form(request)[:20]!r}."
        return http.problem(HTTPStatus.BAD_REQUEST, detail, self._cors(request))

    def _cors(self, request: http.Request) -> http.Headers:
        return cors.headers(self._settings.cors_origins, request.header("origin"))

    def _preflight(self, request: http.Request) -> http.Headers:
        requested = request.header("access-control-request-headers") or "Last-Event-ID"
        return cors.preflight(self._settings.cors_origins, request.header("origin"), _METHODS, requested)

    def _expire_handshakes(self, now: float) -> None:
        for handshake, deadline in list(self._handshakes.items()):
            if deadline > now:
                break
            del self._handshakes[handshake]
            if handshake.expire():
                self.opened(handshake)


_EVENT_STREAM = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
    ("Vary", "Accept-Encoding"),
]
_METHODS = "GET, HEAD"
_EVENTS_PREFIX = "/v1/events/"
_EVENT_KINDS = {"stream", "ws", "trace"}
_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
_DEFLATE = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
_SHARED_DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
# Only reads requests, so that one serves all: to make one for each, and its answer, took three times as long.
_HANDSHAKES = ServerProtocol(extensions=[_DEFLATE])
# Of a refusal by `websockets`: those of its body, which ours replaces, and one that `http.head` sets.
_REPLACED_HEADERS = frozenset({"Content-Length", "Content-Type", "Date"})


# Names in the query: common EventSource polyfills add the first or the second one to the URL of the page, when they
# connect again, because they cannot send a header. The URL may have ours already, which is older then.
_LAST_ID_NAMES = ("lastEventId", "Last-Event-ID", "last_event_id")


def _last_id(request: http.Request) -> str | None:
    """What the viewer resumes from; a browser's header is newer than the query, which stays what the page once said."""
    named = (request.query.get(name) for name in _LAST_ID_NAMES)
    return request.header("last-event-id") or next(filter(None, named), None)


def _form(request: http.Request) -> str:
    return request.query.get("form", "full")


def _is_natural(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
