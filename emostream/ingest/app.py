"""The ingest API: POST /v1/reactions, GET /v1/palette, GET /v1/openapi.json, and what each service answers."""

import asyncio
import functools
import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from flask import Flask, Response, request

from emostream import palette
from emostream.config import IngestSettings
from emostream.ingest import metrics, openapi
from emostream.ingest.committer import NotAccepted, Outcome
from emostream.ingest.events import Events, Refusal
from emostream.ingest.limits import UserLimits
from emostream.ingest.validation import Batch, InvalidError, NotJsonError, parse
from emostream.model import MAIN, Acceptance, Palette, Record
from emostream.runtime import http
from emostream.runtime.http import Deferred, answer, problem
from emostream.runtime.readiness import Readiness
from emostream.tokens.gate import Gate, RefusedError, bearer

RETRY_AFTER_SECONDS = 1
_RETRY_AFTER = [("Retry-After", str(RETRY_AFTER_SECONDS))]

Submit = Callable[[Batch, str], asyncio.Future[Outcome] | NotAccepted]


def create_app(settings: IngestSettings, readiness: Readiness, submit: Submit, events: Events, gate: Gate) -> Flask:
    """The Flask app; `submit` takes a request with its id, or refuses it at once.

    `events` changes on the same thread alone.
    """
    app = http.create_app("emostream.ingest", readiness, settings.cors_origins)
    spellings = palette.accepted(settings.palette)
    limits = _limits(settings)
    default = Palette(palette.buttons(settings.palette), any="any" in settings.palette)
    document = openapi.document(settings, spellings, has_tokens=not gate.is_open)

    @app.post("/v1/reactions")
    def post_reactions() -> Response:
        return _take_if_allowed(MAIN)

    @app.post("/v1/events/<event>/reactions")
    def post_event_reactions(event: str) -> Response:
        return _take_if_allowed(event)

    def _take_if_allowed(event: str) -> Response:
        try:
            claims = gate.check(bearer(request.headers.get("Authorization")), event, "react", "relay")
        except RefusedError as refused:
            return problem(refused.status, refused.detail, refused.headers)
        # A relay sends reactions of many users, so each one names its own.
        user_id = None if claims is None or "relay" in claims.may else claims.user_id
        if event == MAIN:
            return _take(MAIN, spellings, user_id)
        known = events.find(event)
        return _refuse(event, known) if isinstance(known, Refusal) else _take(event, _spellings(known.palette), user_id)

    def _take(event: str, spellings: Mapping[str, str], user_id: str | None) -> Response:
        if request.mimetype != "application/json":
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the reactions as application/json.")
        try:
            batch = parse(http.body_of_request(), spellings, event, user_id)
        except NotJsonError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except InvalidError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, error.detail, invalid=error.items)
        if limits is not None and user_id is not None:
            wait_seconds = limits.take(user_id, batch.reactions, time.monotonic())
            if wait_seconds:
                return _refuse_user(batch, wait_seconds, settings.user_burst_reactions)
        outcome = submit(batch, http.id_of_request())
        return _answer(batch, outcome) if isinstance(outcome, NotAccepted) else Deferred(_await(batch, outcome))

    @app.get("/v1/palette")
    def get_palette() -> Response:
        return answer(default)

    @app.get("/v1/events/<event>/palette")
    def get_event_palette(event: str) -> Response:
        if event == MAIN:
            return get_palette()
        known = events.find(event)
        return _refuse(event, known) if isinstance(known, Refusal) else answer(Palette(known.palette, any=False))

    @app.get("/v1/openapi.json")
    def get_openapi() -> Response:
        return answer(document)

    return app


@functools.lru_cache(256)
def _spellings(emoji: tuple[str, ...]) -> Mapping[str, str]:
    """Many events have the same palette."""
    return palette.accepted(emoji)


def _limits(settings: IngestSettings) -> UserLimits | None:
    rate = settings.user_reactions_per_second
    return UserLimits(rate, settings.user_burst_reactions, settings.max_limited_users) if rate else None


def _refuse_user(batch: Batch, wait_seconds: float, burst: int) -> Response:
    metrics.limited_reactions.inc(batch.reactions)
    detail = f"You have sent too many reactions; no more than {burst} at once are taken."
    retry = [("Retry-After", str(math.ceil(wait_seconds)))]
    return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, retry)


def _refuse(event: str, refusal: Refusal) -> Response:
    headers = _RETRY_AFTER if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE else ()
    return problem(refusal.status, refusal.detail, headers, event=event)


async def _await(batch: Batch, outcome: asyncio.Future[Outcome]) -> Response:
    return _answer(batch, await outcome)


def _answer(batch: Batch, outcome: Outcome) -> Response:
    if isinstance(outcome, Record):
        return answer(Acceptance(batch.reactions, outcome), HTTPStatus.ACCEPTED)
    if isinstance(outcome, NotAccepted):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, outcome.reason, _RETRY_AFTER)
    metrics.unknown_reactions.inc(batch.reactions)
    return problem(HTTPStatus.GATEWAY_TIMEOUT, outcome.reason)
