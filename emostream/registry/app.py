"""The registry's API: assignments, the topology, and the web page."""

import ipaddress
from collections.abc import Callable
from http import HTTPStatus

import msgspec
from flask import Flask, Response, request

from emostream import model
from emostream.config import RegistrySettings
from emostream.model import AssignmentRequest
from emostream.registry import openapi, page
from emostream.registry.events import Events
from emostream.registry.live import Collector, LiveTopology
from emostream.registry.page import PageConfig
from emostream.registry.reception import Reception, Sources
from emostream.registry.topology import Topology
from emostream.runtime import http
from emostream.runtime.addresses import client_address
from emostream.runtime.http import Deferred, answer, problem
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import bearer


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
    reception = Reception(settings, readiness, sources, now)
    proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies]
    app = http.create_app("emostream.registry", readiness, settings.cors_origins)
    document = openapi.document(
        live_topology=settings.public_live_topology, has_tokens=not gate.is_open, has_guests=gate.has_guests
    )

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
        return reception.assign(wanted, bearer(request.headers.get("Authorization")), _address())

    @app.post("/v1/guests")
    def post_guests() -> Response:
        return reception.admit_guest(_address())

    def _address() -> str:
        return client_address(request.remote_addr or "", request.headers.get("X-Forwarded-For"), proxies)

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
