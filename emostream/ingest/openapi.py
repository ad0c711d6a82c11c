"""What the ingest API promises, as an OpenAPI document; the tests hold the API to it."""

from collections.abc import Iterable
from typing import Any

from emostream.config import IngestSettings
from emostream.ingest.validation import MAX_TIMESTAMP_MS, MAX_USER_ID_CHARACTERS, MIN_TIMESTAMP_MS
from emostream.model import MAX_REACTIONS_PER_REQUEST


def document(settings: IngestSettings, spellings: Iterable[str]) -> dict[str, Any]:
    """The whole document (OpenAPI 3.1); `spellings` are all that `emoji_type` may be."""
    emoji_type = {**_EMOJI_TYPE, "enum": sorted(spellings)}
    reaction = {**_REACTION, "properties": {**_REACTION["properties"], "emoji_type": emoji_type}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "EmoStream ingest", "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": {
            "/v1/reactions": {"post": _post_reactions(settings)},
            "/v1/palette": {"get": _get("The emoji that are allowed, for buttons.", _PALETTE)},
            "/v1/openapi.json": {"get": _get("This document.", {"type": "object"})},
            "/healthz": {"get": _get("The process is alive.", _STATUS)},
            "/readyz": {"get": _readyz()},
            "/metrics": {"get": _metrics()},
        },
        "components": {"schemas": {"Reaction": reaction, "Problem": _PROBLEM}},
    }


_EMOJI_TYPE = {"type": "string", "description": "One emoji of the palette, with or without its variation selectors."}
_REACTION: dict[str, Any] = {
    "type": "object",
    "description": "One tap of one viewer. Fields besides these are ignored.",
    "required": ["user_id", "emoji_type", "timestamp"],
    "properties": {
        "user_id": {
            "type": "string",
            "description": "Who reacts; no control characters.",
            "minLength": 1,
            "maxLength": MAX_USER_ID_CHARACTERS,
            "pattern": "^[^\\x00-\\x1f\\x7f]*$",
            "examples": ["u1"],
        },
        "timestamp": {
            "type": "integer",
            "description": "The tap's time on the viewer's clock, in ms since the epoch, without a fraction.",
            "minimum": MIN_TIMESTAMP_MS,
            "maximum": MAX_TIMESTAMP_MS,
            "examples": [1732370000123],
        },
    },
}
_PROBLEM = {
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, in words."},
        "invalid": {
            "type": "array",
            "description": "With 422: the first bad reactions.",
            "items": {
                "type": "object",
                "required": ["index", "reason"],
                "properties": {"index": {"type": "integer"}, "reason": {"type": "string"}},
            },
        },
        "reasons": {
            "type": "object",
            "description": "With 503 of /readyz: each condition that is not met.",
            "additionalProperties": {"type": "string"},
        },
    },
}
_ACCEPTED = {
    "type": "object",
    "required": ["accepted", "record"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 1, "maximum": MAX_REACTIONS_PER_REQUEST},
        "record": {
            "type": "object",
            "description": "The record of the topic `reactions` that holds them.",
            "required": ["partition", "offset", "timestamp"],
            "properties": {
                "partition": {"type": "integer", "minimum": 0},
                "offset": {"type": "integer", "minimum": 0},
                "timestamp": {"type": "integer", "description": "ms since the epoch"},
            },
        },
    },
}
_PALETTE = {
    "type": "object",
    "required": ["emoji", "any"],
    "properties": {
        "emoji": {"type": "array", "items": {"type": "string"}},
        "any": {"type": "boolean", "description": "Whether every other emoji is allowed too."},
    },
}
_STATUS = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}


def _post_reactions(settings: IngestSettings) -> dict[str, Any]:
    reaction = {"$ref": "#/components/schemas/Reaction"}
    several = {"type": "array", "items": reaction, "minItems": 1, "maxItems": MAX_REACTIONS_PER_REQUEST}
    return {
        "summary": "Send one reaction, or a list of them.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": [reaction, several]}}},
        },
        "responses": {
            "202": {"description": "All are in Kafka.", "content": {"application/json": {"schema": _ACCEPTED}}},
            "400": _problem("The body is not JSON."),
            "408": _problem(f"The body did not come in {settings.body_timeout_ms} ms."),
            "411": _problem("The body came without a Content-Length."),
            "413": _problem(f"The body has more than {settings.max_body_bytes} bytes."),
            "415": _problem("The body is not application/json."),
            "422": _problem("At least one reaction is invalid; none was accepted."),
            "503": {
                **_problem("Not accepted: send it again after Retry-After."),
                "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
            },
            "504": _problem(f"Kafka did not confirm in {settings.deadline_ms} ms: the outcome is unknown."),
        },
    }


def _get(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {"application/json": {"schema": schema}}}},
    }


def _readyz() -> dict[str, Any]:
    operation = _get("The service can do its work now.", _STATUS)
    operation["responses"]["503"] = _problem("It cannot, for these reasons.")
    return operation


def _metrics() -> dict[str, Any]:
    summary = "Prometheus' text format."
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
