"""Gives viewers a subscriber, and guests a token, as far as their rights and the limits allow."""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from flask import Response

from emostream.config import RegistrySettings
from emostream.model import MAIN, AssignmentRequest, GuestToken
from emostream.registry import metrics
from emostream.registry.events import Events
from emostream.registry.live import Collector
from emostream.registry.pending import PendingByAddress
from emostream.registry.topology import Topology
from emostream.runtime.http import answer, problem
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import Gate, RefusedError

RETRY_AFTER_SECONDS = 2
_RETRY_AFTER = [("Retry-After", str(RETRY_AFTER_SECONDS))]


class Sources(NamedTuple):
    """What the public app tells of, and who may be told."""

    topology: Topology
    collector: Collector
    events: Events
    gate: Gate


class Reception:
    """Answers each question for a place. To be used on one event loop; `now` is its clock."""

    def __init__(
        self, settings: RegistrySettings, readiness: Readiness, sources: Sources, now: Callable[[], float]
    ) -> None:
        self._readiness = readiness
        self._topology, _, self._events, self._gate = sources
        self._now = now
        most, seconds = settings.max_pending_per_address, settings.pending_seconds
        self._assigned = PendingByAddress(most, seconds)
        self._admitted = PendingByAddress(most, seconds)

    def assign(self, wanted: AssignmentRequest, token: str | None, address: str) -> Response:
        """Say where a viewer connects to. A guest, who has no token, gets one with it."""
        is_guest = token is None and self._gate.has_guests
        try:
            claims = None if is_guest else self._gate.check(token, wanted.event, "watch")
        except RefusedError as refused:
            metrics.REFUSALS.labels("token").inc()
            return problem(refused.status, refused.detail, refused.headers)
        is_relay = claims is not None and "relay" in claims.may
        if not is_relay and not self._assigned.has_room(address, self._now()):
            return _refuse_address(address)
        response = self._assign(wanted, is_guest=is_guest)
        if not is_relay and response.status_code == HTTPStatus.OK:
            self._assigned.take(address, self._now())
        return response

    def admit_guest(self, address: str) -> Response:
        """Give a guest a token."""
        if not self._gate.has_guests:
            return problem(HTTPStatus.NOT_FOUND, "This service gives no tokens to guests.")
        if not self._admitted.has_room(address, self._now()):
            return _refuse_address(address)
        self._admitted.take(address, self._now())
        return answer(self._guest_token())

    def _assign(self, wanted: AssignmentRequest, *, is_guest: bool) -> Response:
        if self._readiness.reasons():
            return _refuse("starting", "The registry has not reached ZooKeeper yet.")
        if wanted.event != MAIN and self._events.find(wanted.event) is None:
            is_unknown = self._events.is_current and wanted.event not in self._events.table
            return _refuse_event(wanted.event, is_unknown=is_unknown)
        assignment = self._topology.assign(self._now(), frozenset(wanted.exclude), wanted.event)
        if assignment is None:
            return _refuse("full", "Every subscriber is full, or was excluded by this request.")
        metrics.ASSIGNMENTS.labels(assignment.cluster).inc()
        if is_guest:
            assignment = msgspec.structs.replace(assignment, token=self._guest_token().token)
        return answer(assignment)

    def _guest_token(self) -> GuestToken:
        metrics.GUESTS.inc()
        return GuestToken(*self._gate.sign_guest(f"guest-{secrets.token_urlsafe(12)}"))


def _refuse_event(event: str, *, is_unknown: bool) -> Response:
    """Refuse a viewer of an event that is not there, or of which nothing is known now."""
    if not is_unknown:
        metrics.REFUSALS.labels("starting").inc()
        detail = f"It is not known now whether there is an event {event}."
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, _RETRY_AFTER, event=event)
    metrics.REFUSALS.labels("unknown event").inc()
    return problem(HTTPStatus.NOT_FOUND, f"There is no event {event}.", event=event)


def _refuse(reason: str, detail: str) -> Response:
    metrics.REFUSALS.labels(reason).inc()
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, _RETRY_AFTER)


def _refuse_address(address: str) -> Response:
    metrics.REFUSALS.labels("address").inc()
    detail = f"{address} has asked for too many places; most of them are not taken yet."
    return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, _RETRY_AFTER)
