"""What the registry's API promises, as an OpenAPI document; the tests hold the API to it."""

from typing import Any

from emostream.runtime import openapi

MAX_EXCLUDED = 64
MAX_NAME_CHARACTERS = 256

_STRING = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_BOOLEAN = {"type": "boolean"}
_URL = {"type": "string", "format": "uri"}


def document(*, live_topology: bool) -> dict[str, Any]:
    """The whole document of the public listener (OpenAPI 3.1)."""
    paths = {
        "/v1/assignments": {"post": _POST_ASSIGNMENTS},
        "/v1/events": {"get": openapi.get("The open events that are listed, `main` first.", _EVENTS)},
        "/v1/topology": {"get": openapi.get("Every live process, without addresses of the inside.", _TOPOLOGY)},
        "/v1/config": {"get": openapi.get("What a page needs to know.", _CONFIG)},
        "/": {"get": openapi.get("The web page.", _STRING, "text/html")},
    }
    if live_topology:
        paths["/v1/topology/live"] = {"get": openapi.get("Every live process, and what it says of itself now.", _LIVE)}
    return openapi.document("EmoStream registry", paths, {"AssignmentRequest": _REQUEST, "Assignment": _ASSIGNMENT})


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_REQUEST = {
    "type": "object",
    "description": "Fields besides these are ignored.",
    "required": ["user_id"],
    "properties": {
        "user_id": openapi.USER_ID,
        "exclude": {
            "type": "array",
            "description": "Subscribers that just failed this viewer.",
            "items": {"type": "string", "maxLength": MAX_NAME_CHARACTERS, "examples": ["cluster2/9005"]},
            "maxItems": MAX_EXCLUDED,
        },
        "event": {
            "type": "string",
            "description": "The event to watch; `main` by default.",
            "maxLength": MAX_NAME_CHARACTERS,
            "examples": ["main"],
        },
    },
}
_EVENTS = _object(
    events={
        "type": "array",
        "items": _object(
            event=_STRING,
            title=_STRING,
            viewers=_COUNT,
            reactions={**_COUNT, "description": "Since it was opened."},
            reactions_per_second={"type": "number", "minimum": 0, "description": "In the last ten seconds."},
        ),
    },
)
_STREAM_QUERY = (
    " The query takes `last_event_id=<id>`, to resume after that message, and `heartbeats=1`: "
    'then `{"type":"hello","heartbeat_ms":3000}` comes before the first message, and `{"type":"heartbeat"}` after each '
    "silence of that time, in place of a comment or a ping."
)
_ASSIGNMENT = _object(
    subscriber=_STRING,
    cluster=_STRING,
    sse_url={**_URL, "description": f"The swarms as server-sent events.{_STREAM_QUERY}"},
    ws_url={**_URL, "description": f"The same messages by WebSocket.{_STREAM_QUERY}"},
)
_STALE_SINCE = {
    "type": ["integer", "null"],
    "description": "Since when ZooKeeper is away, and this perhaps outdated, in ms since the epoch; else null.",
}
_TOPOLOGY = _object(
    stale_since=_STALE_SINCE,
    subscribers={
        "type": "array",
        "items": _object(
            name=_STRING,
            cluster=_STRING,
            url=_URL,
            capacity=_COUNT,
            clients=_COUNT,
            pending={**_COUNT, "description": "Viewers sent there who have not been reported yet."},
        ),
    },
    services={
        "type": "array",
        "items": _object(
            tier=_STRING,
            name={**_STRING, "description": "The cluster of a publisher, else the tier: several may share a name."},
            leader=_BOOLEAN,
        ),
    },
)
_CONFIG = _object(
    ingest_url=_STRING,
    live_topology={**_BOOLEAN, "description": "Whether this registry answers /v1/topology/live to everybody."},
)
_LIVE = _object(
    stale_since=_STALE_SINCE,
    processes={
        "type": "array",
        "items": _object(
            tier=_STRING,
            name=_STRING,
            url=_URL,
            admin_url=_STRING,
            cluster=_STRING,
            leader=_BOOLEAN,
            clients=_COUNT,
            capacity=_COUNT,
            ready=_BOOLEAN,
            reason=_STRING,
            metrics={"type": "object", "additionalProperties": {"type": "number"}},
        ),
    },
)
_POST_ASSIGNMENTS = {
    "summary": "Ask which subscriber to connect to.",
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AssignmentRequest"}}},
    },
    "responses": {
        "200": {
            "description": "The least loaded one.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Assignment"}}},
        },
        "400": openapi.problem("The body is not JSON."),
        "404": openapi.problem("There is no such event."),
        "408": openapi.problem("The body did not come in time."),
        "413": openapi.problem("The body is too large."),
        "415": openapi.problem("The body is not application/json."),
        "422": openapi.problem("The body is JSON, but not such a request."),
        "503": openapi.retry_later("Every subscriber is full, or none is known yet."),
    },
}
