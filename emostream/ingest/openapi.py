"""What the ingest API promises, as an OpenAPI document; the tests hold the API to it."""

from collections.abc import Iterable
from typing import Any

from emostream.config import IngestSettings
from emostream.ingest.validation import MAX_TIMESTAMP_MS, MIN_TIMESTAMP_MS
from emostream.model import MAX_REACTIONS_PER_REQUEST
from emostream.runtime import openapi


def document(settings: IngestSettings, spellings: Iterable[str]) -> dict[str, Any]:
    """The whole document (OpenAPI 3.1); `spellings` are all that `emoji_type` may be."""
    emoji_type = {**_EMOJI_TYPE, "enum": sorted(spellings)}
    reaction = {**_REACTION, "properties": {**_REACTION["properties"], "emoji_type": emoji_type}}
    paths = {
        "/v1/reactions": {"post": _post_reactions(settings)},
        "/v1/palette": {"get": openapi.get("The emoji that are allowed, for buttons.", _PALETTE)},
        "/v1/events/{event}/reactions": {"post": _of_event(_post_reactions(settings), "Send reactions to one event.")},
        "/v1/events/{event}/palette": {
            "get": _of_event(openapi.get("", _PALETTE), "The emoji that are allowed for one event.")
        },
    }
    return openapi.document("EmoStream ingest", paths, {"Reaction": reaction, "Problem": _PROBLEM})


_EMOJI_TYPE = {
    "type": "string",
    "description": (
        "One emoji of the palette. U+FE0F, U+FE0E or neither may stand wherever Unicode allows a variation selector; "
        "all spellings of an emoji are counted as one."
    ),
}
_REACTION: dict[str, Any] = {
    "type": "object",
    "description": "One tap of one viewer. Fields besides these are ignored.",
    "required": ["user_id", "emoji_type", "timestamp"],
    "properties": {
        "user_id": openapi.USER_ID,
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
    **openapi.PROBLEM,
    "properties": {
        **openapi.PROBLEM["properties"],
        "invalid": {
            "type": "array",
            "description": "With 422: the first bad reactions.",
            "items": {
                "type": "object",
                "required": ["index", "reason"],
                "properties": {"index": {"type": "integer"}, "reason": {"type": "string"}},
            },
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


def _of_event(operation: dict[str, Any], summary: str) -> dict[str, Any]:
    """The same for one event, which may be unknown or closed."""
    refusals = {
        "404": openapi.problem("There is no such event."),
        "410": openapi.problem("The event is closed."),
        "503": openapi.retry_later("Not accepted, or it is not known now whether there is such an event."),
    }
    responses = {**operation["responses"], **refusals}
    return {**operation, "summary": summary, "parameters": [openapi.EVENT], "responses": responses}


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
            "400": openapi.problem("The body is not JSON."),
            "408": openapi.problem(f"The body did not come in {settings.body_timeout_ms} ms."),
            "411": openapi.problem("The body came without a Content-Length."),
            "413": openapi.problem(f"The body has more than {settings.max_body_bytes} bytes."),
            "415": openapi.problem("The body is not application/json."),
            "422": openapi.problem("At least one reaction is invalid; none was accepted."),
            "503": openapi.retry_later("Not accepted: send it again after Retry-After."),
            "504": openapi.problem(f"Kafka did not confirm in {settings.deadline_ms} ms: the outcome is unknown."),
        },
    }
