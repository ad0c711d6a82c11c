"""What the registry's API promises, as an OpenAPI document; the tests hold the API to it."""

from emostream.model import Assignment, AssignmentRequest, GuestToken
from emostream.registry.events import Listing
from emostream.registry.live import LiveTopology
from emostream.registry.page import PageConfig
from emostream.registry.topology import TopologyView
from emostream.runtime import openapi
from emostream.runtime.openapi import Schema, get, of, problem


def document(*, live_topology: bool, has_tokens: bool = False, has_guests: bool = False) -> Schema:
    """The whole document of the public listener (OpenAPI 3.1)."""
    types: list[type] = [Assignment, AssignmentRequest, GuestToken, Listing, TopologyView, PageConfig]
    paths = {
        "/v1/assignments": {"post": _POST_ASSIGNMENTS},
        "/v1/guests": {"post": _POST_GUESTS},
        "/v1/events": {"get": get("The open events that are listed, `main` first.", of(Listing))},
        "/v1/topology": {"get": get("Every live process, without addresses of the inside.", of(TopologyView))},
        "/v1/config": {"get": get("What a page needs to know.", of(PageConfig))},
        "/": {"get": get("The web page.", {"type": "string"}, "text/html")},
    }
    if live_topology:
        types.append(LiveTopology)
        summary = "Every live process, and what it says of itself now."
        paths["/v1/topology/live"] = {"get": get(summary, of(LiveTopology))}
    whole = openapi.document("EmoStream registry", paths, types)
    if has_tokens:
        openapi.require_token(whole, "/v1/assignments", has_guests=has_guests)
    return whole


_POST_GUESTS = {
    "summary": "Ask for a token of a guest, who may react and watch.",
    "responses": {
        "200": {"description": "A new one.", "content": openapi.json(of(GuestToken))},
        "404": problem("This service gives none."),
        "408": problem("The body did not come in time."),
        "413": problem("The body is too large."),
        "429": openapi.retry_later("This address has asked for too many tokens."),
        "503": openapi.retry_later("Too many bytes of other requests are being received."),
    },
}
_POST_ASSIGNMENTS = {
    "summary": "Ask which subscriber to connect to.",
    "requestBody": {"required": True, "content": openapi.json(of(AssignmentRequest))},
    "responses": {
        "200": {"description": "The least loaded one.", "content": openapi.json(of(Assignment))},
        "400": problem("The body is not JSON."),
        "404": problem("There is no such event."),
        "408": problem("The body did not come in time."),
        "413": problem("The body is too large."),
        "415": problem("The body is not application/json."),
        "422": problem("The body is JSON, but not such a request."),
        "429": openapi.retry_later("This address has asked for too many places."),
        "503": openapi.retry_later("Every subscriber is full, or none is known yet."),
    },
}
