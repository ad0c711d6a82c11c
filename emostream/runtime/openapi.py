"""What the OpenAPI documents of the Flask tiers have in common."""

from typing import Any

from emostream.model import EVENT_PATTERN, MAX_USER_ID_CHARACTERS

Schema = dict[str, Any]

USER_ID: Schema = {
    "type": "string",
    "description": "Who reacts or watches; no control characters.",
    "minLength": 1,
    "maxLength": MAX_USER_ID_CHARACTERS,
    "pattern": "^[^\\x00-\\x1f\\x7f]*$",
    "examples": ["u1"],
}

EVENT: Schema = {
    "name": "event",
    "in": "path",
    "required": True,
    "description": "The id of an event; `main` is always there.",
    "schema": {"type": "string", "pattern": f"^{EVENT_PATTERN}$", "examples": ["main", "final"]},
}

PROBLEM: Schema = {
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, in words."},
        "event": {"type": "string", "description": "The event that is not known or closed."},
        "reasons": {
            "type": "object",
            "description": "With 503 of an admin listener's /readyz: each condition that is not met.",
            "additionalProperties": {"type": "string"},
        },
    },
}
_STATUS = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}


def document(title: str, paths: Schema, schemas: Schema) -> Schema:
    """A whole document (OpenAPI 3.1): `paths`, and those that every service has."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": {**paths, **_operations()},
        "components": {"schemas": {"Problem": PROBLEM, **schemas}},
    }


def get(summary: str, schema: Schema, content_type: str = "application/json") -> Schema:
    """A GET that always succeeds."""
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {content_type: {"schema": schema}}}},
    }


def problem(description: str) -> Schema:
    """A response that is an error."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def retry_later(description: str) -> Schema:
    """A 503 that says when to come again."""
    header = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return {**problem(description), "headers": header}


def _operations() -> Schema:
    readyz = get("The service can do its work now.", _STATUS)
    readyz["responses"]["503"] = problem("It cannot; its admin listener says why.")
    return {
        "/v1/openapi.json": {"get": get("This document.", {"type": "object"})},
        "/healthz": {"get": get("The process is alive.", _STATUS)},
        "/readyz": {"get": readyz},
    }
