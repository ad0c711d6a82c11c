"""What the ingest API promises, as an OpenAPI document; the tests hold the API to it."""

from collections.abc import Iterable

from emostream.config import IngestSettings
from emostream.ingest.validation import PostedReaction
from emostream.model import MAX_REACTIONS_PER_REQUEST, Acceptance, Palette
from emostream.runtime import openapi
from emostream.runtime.openapi import Schema


def document(settings: IngestSettings, spellings: Iterable[str], *, has_tokens: bool = False) -> Schema:
    """The whole document (OpenAPI 3.1); `spellings` are all that `emoji_type` may be."""
    palette = openapi.of(Palette)
    paths = {
        "/v1/reactions": {"post": _post_reactions(settings)},
        "/v1/palette": {"get": openapi.get("The emoji that are allowed, for buttons.", palette)},
        "/v1/events/{event}/reactions": {"post": _of_event(_post_reactions(settings), "Send reactions to one event.")},
        "/v1/events/{event}/palette": {
            "get": _of_event(openapi.get("", palette), "The emoji that are allowed for one event.")
        },
    }
    whole = openapi.document("EmoStream ingest", paths, [Acceptance, Palette, PostedReaction])
    reaction = whole["components"]["schemas"][PostedReaction.__name__]
    reaction["properties"]["emoji_type"]["enum"] = sorted(spellings)
    if has_tokens:
        for path in ("/v1/reactions", "/v1/events/{event}/reactions"):
            too_many = openapi.retry_later("The user has sent too many.")
            whole["paths"][path]["post"]["responses"]["429"] = too_many
        openapi.require_token(whole, "/v1/reactions", "/v1/events/{event}/reactions")
        # The token says who reacts, and only a relay names its users.
        reaction["required"].remove("user_id")
    return whole


def _of_event(operation: Schema, summary: str) -> Schema:
    """The same for one event, which may be unknown or closed."""
    refusals = {
        "404": openapi.problem("There is no such event."),
        "410": openapi.problem("The event is closed."),
        "503": openapi.retry_later("Not accepted, or it is not known now whether there is such an event."),
    }
    responses = {**operation["responses"], **refusals}
    return {**operation, "summary": summary, "parameters": [openapi.EVENT], "responses": responses}


def _post_reactions(settings: IngestSettings) -> Schema:
    reaction = openapi.of(PostedReaction)
    several = {"type": "array", "items": reaction, "minItems": 1, "maxItems": MAX_REACTIONS_PER_REQUEST}
    return {
        "summary": "Send one reaction, or a list of them.",
        "requestBody": {"required": True, "content": openapi.json({"oneOf": [reaction, several]})},
        "responses": {
            "202": {"description": "All are in Kafka.", "content": openapi.json(openapi.of(Acceptance))},
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
