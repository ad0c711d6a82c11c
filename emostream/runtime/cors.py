"""CORS: which pages may read the answers of a service, and which headers say so. Pure."""

import re
from collections.abc import Collection

from emostream.runtime import request_ids

Headers = list[tuple[str, str]]

ANY = "*"
_EXPOSED = f"Retry-After, {request_ids.HEADER}"
_PREFLIGHT_SECONDS = "86400"
# What a header's name may consist of (RFC 9110, token). Nothing else of a request gets into an answer.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# More than any page sends; the rest of a longer list is left out.
_MAX_ECHOED_CHARACTERS = 1_000


def allows(origins: Collection[str], origin: str | None) -> bool:
    """Whether a request with this `Origin` (None: it has none, so no page sent it) may be served."""
    return origin is None or ANY in origins or origin in origins


def headers(origins: Collection[str], origin: str | None) -> Headers:
    """What every answer to a request with this `Origin` carries. Without `origins` it is nothing."""
    if not origins:
        return []
    exposed = ("Access-Control-Expose-Headers", _EXPOSED)
    if ANY in origins:
        return [("Access-Control-Allow-Origin", ANY), exposed]
    # The answer depends on the origin even if this request has none, or one that is not allowed.
    vary = ("Vary", "Origin")
    if origin is None or origin not in origins:
        return [vary]
    return [("Access-Control-Allow-Origin", origin), exposed, vary]


def preflight(origins: Collection[str], origin: str | None, methods: str, requested: str | None) -> Headers:
    """What the answer to an OPTIONS request carries beside `headers`.

    `methods` are those of the path, comma-separated; `requested` is the request's `Access-Control-Request-Headers`.
    """
    if not origins:
        return []
    # The names are echoed because the wildcard leaves out `Authorization`, and older browsers do not know it.
    vary = ("Vary", "Access-Control-Request-Headers")
    if not allows(origins, origin):
        return [vary]
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", _echoed(requested) or "Content-Type"),
        ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        vary,
    ]


def _echoed(requested: str | None) -> str:
    names = [name.strip() for name in (requested or "")[:_MAX_ECHOED_CHARACTERS].split(",")]
    return ", ".join(name for name in names if _HEADER_NAME.fullmatch(name))
