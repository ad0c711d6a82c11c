"""The registry's API: assignments, the topology, and the web page."""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from flask import Flask, Response, request

from emostream import model
from emostream.config import RegistrySettings
from emostream.model import MAIN, AssignmentRequest, GuestToken
from emostream.registry import metrics, openapi, page
from emostream.registry.events import Events
from emostream.registry.live import Collector, LiveTopology
from emostream.registry.page import PageConfig
from emostream.registry.topology import Topology
from emostream.runtime import http
from emostream.runtime.http import Deferred, answer, problem
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import Gate, RefusedError, bearer

RETRY_AFTER_SECONDS = 2
_RETRY_AFTER = [("Retry-After", str(RETRY_AFTER_SECONDS))]


class Sources(NamedTuple):
    """What the public app tells of."""

    topology: Topology
    collector: Collector
    events: Events
    gate: Gate


def create_admin_app(readiness: Readiness, topology: Topology, collector: Collector, now: Callable[[], float]) -> Flask:
    """What operators are told: the topology with every address, and what each process says of itself now."""
    app = http.create_admin_app("emostream.registry.admin", readiness)

    @app.get("/v1/topology")
    def get_topology() -> Response:
        return answer(topology.view(now()))

    _add_live_topology(app, topology, collector)
    return app


def create_app(
    settings: RegistrySettings,
    readiness: Readiness,
    sources: Sources,
    now: Callable[[], float],
) -> Flask:
    """The public app over what is kept up to date elsewhere, on the same thread; `now` is its clock."""
    topology, collector, events, gate = sources
    app = http.create_app("emostream.registry", readiness, settings.cors_origins)
    document = openapi.document(live_topology=settings.public_live_topology, has_tokens=not gate.is_open)

    @app.post("/v1/assignments")
    def post_assignments() -> Response:
        if request.mimetype != "application/json":
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the request as application/json.")
        try:
            # A body that is not JSON gets another answer than one that is not a request.
            wanted = msgspec.convert(model.decode(request.get_data(), object), AssignmentRequest)
        except msgspec.ValidationError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.")
        except msgspec.DecodeError as error:
            return problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.")
        token = bearer(request.headers.get("Authorization"))
        if token is None and gate.has_guests:
            return _assign(wanted, is_guest=True)
        try:
            gate.check(token, wanted.event, "watch")
        except RefusedError as refused:
            metrics.REFUSALS.labels("token").inc()
            return problem(refused.status, refused.detail, refused.headers)
        return _assign(wanted, is_guest=False)

    def _assign(wanted: AssignmentRequest, *, is_guest: bool) -> Response:
        if readiness.reasons():
            return _refuse("starting", "The registry has not reached ZooKeeper yet.")
        if wanted.event != MAIN and events.find(wanted.event) is None:
            return _refuse_event(wanted.event, is_current=events.is_current and wanted.event not in events.table)
        assignment = topology.assign(now(), frozenset(wanted.exclude), wanted.event)
        if assignment is None:
            return _refuse("full", "Every subscriber is full, or was excluded by this request.")
        metrics.ASSIGNMENTS.labels(assignment.cluster).inc()
        if is_guest:
            assignment = msgspec.structs.replace(assignment, token=_guest_token().token)
        return answer(assignment)

    def _guest_token() -> GuestToken:
        metrics.GUESTS.inc()
        return GuestToken(*gate.sign_guest(f"guest-{secrets.token_urlsafe(12)}"))

    @app.post("/v1/guests")
    def post_guests() -> Response:
        if not gate.has_guests:
            return problem(HTTPStatus.NOT_FOUND, "This service gives no tokens to guests.")
        return answer(_guest_token())

    @app.get("/v1/events")
    def get_events() -> Response:
        return Deferred(_list(events))

    @app.get("/v1/topology")
    def get_topology() -> Response:
        return answer(topology.view_for_viewers(now()))

    @app.get("/v1/config")
    def get_config() -> Response:
        return answer(PageConfig(settings.ingest_url, settings.public_live_topology))

    @app.get("/v1/openapi.json")
    def get_openapi() -> Response:
        return answer(document)

    if settings.public_live_topology:
        _add_live_topology(app, topology, collector)
    page.add_to(app)
    return app


def _add_live_topology(app: Flask, topology: Topology, collector: Collector) -> None:
    @app.get("/v1/topology/live")
    def get_live_topology() -> Response:
        return Deferred(_look(collector, topology))


async def _look(collector: Collector, topology: Topology) -> Response:
    processes = await collector.look()
    return answer(LiveTopology(topology.stale_since_ms, processes))


async def _list(events: Events) -> Response:
    return answer(await events.listed())


def _refuse_event(event: str, *, is_current: bool) -> Response:
    """Refuse a viewer of an event that is not there, or of which nothing is known now."""
    if not is_current:
        metrics.REFUSALS.labels("starting").inc()
        detail = f"It is not known now whether there is an event {event}."
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, _RETRY_AFTER, event=event)
    metrics.REFUSALS.labels("unknown event").inc()
    return problem(HTTPStatus.NOT_FOUND, f"There is no event {event}.", event=event)


def _refuse(reason: str, detail: str) -> Response:
    metrics.REFUSALS.labels(reason).inc()
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, _RETRY_AFTER)
