"""What the OpenAPI documents of the Flask tiers have in common."""

from collections.abc import Iterable
from typing import Any

import msgspec

from emostream import model
from emostream.model import EVENT_PATTERN, Problem, Status

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"

EVENT: Schema = {
    "name": "event",
    "in": "path",
    "required": True,
    "description": "The id of an event; `main` is always there.",
    "schema": {"type": "string", "pattern": f"^{EVENT_PATTERN}$", "examples": ["main", "final"]},
}


def document(title: str, paths: Schema, types: Iterable[type]) -> Schema:
    """A whole document (OpenAPI 3.1): `paths`, and those that every service has. `types` are what `paths` refer to."""
    _, schemas = msgspec.json.schema_components([Problem, Status, *types], ref_template=_REFERENCE)
    # The end of a text is \Z in Python's patterns, and $ in those of JSON Schema.
    schemas = model.decode(model.encode(schemas).replace(rb'\\Z"', b'$"'), Schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": {**paths, **_operations()},
        "components": {"schemas": schemas},
    }


def of(struct: type) -> Schema:
    """The schema of one of the document's types."""
    return {"$ref": _REFERENCE.format(name=struct.__name__)}


def json(schema: Schema) -> Schema:
    """The content of a request or an answer."""
    return {"application/json": {"schema": schema}}


def get(summary: str, schema: Schema, content_type: str = "application/json") -> Schema:
    """A GET that always succeeds."""
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {content_type: {"schema": schema}}}},
    }


def problem(description: str) -> Schema:
    """A response that is an error."""
    return {"description": description, "content": {"application/problem+json": {"schema": of(Problem)}}}


def retry_later(description: str) -> Schema:
    """A 503 or 429 that says when to come again."""
    header = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return {**problem(description), "headers": header}


def require_token(whole: Schema, *paths: str, has_guests: bool = False) -> None:
    """Say in a document that these paths need a token, which guests need not send."""
    whole["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for path in paths:
        for operation in whole["paths"][path].values():
            operation["security"] = [{"token": []}, *[{}] * has_guests]
            operation["responses"]["401"] = problem("There is no token, or it is not good.")
            operation["responses"]["403"] = problem("The token does not give this right.")


def _operations() -> Schema:
    readyz = get("The service can do its work now.", of(Status))
    readyz["responses"]["503"] = problem("It cannot; its admin listener says why.")
    return {
        "/v1/openapi.json": {"get": get("This document.", {"type": "object"})},
        "/healthz": {"get": get("The process is alive.", of(Status))},
        "/readyz": {"get": readyz},
    }
