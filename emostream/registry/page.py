"""The web page's files, as the registry serves them, and what the page needs to know."""

import functools
import gzip
from pathlib import Path
from typing import Annotated

import msgspec
from flask import Flask, Response, abort, request
from werkzeug.security import safe_join

from emostream import web
from emostream.registry.bundle import bundle, without_comments

_FOLDER = Path(web.__file__).parent
# What a page is made of; whatever else is in the folder is not served. The types are told here, because a browser
# refuses a module that has another one, and what a machine thinks of suffixes varies.
_CONTENT_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
# What our pages may load, whatever gets into them. Their streams come from hosts that only the registry's answers name.
# Scripts may set styles of elements, which this policy does not mean.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "
    "connect-src * ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# The example has its script in the page, to be copied as it is.
_WITHOUT_POLICY = {"example.html"}
_COMPRESSED = {".html", ".js", ".css", ".svg", ".webmanifest"}
# The module of the tag, which other pages load as one.
_TAG = "emostream-reactions.js"


class PageConfig(msgspec.Struct, frozen=True):
    """The answer to GET /v1/config."""

    ingest_url: str
    live_topology: Annotated[
        bool, msgspec.Meta(description="Whether this registry answers /v1/topology/live to everybody.")
    ]


def add_to(app: Flask) -> None:
    """Serve the page, its files and the tag, to be revalidated at each use, so that a new release is seen at once."""

    @app.get("/")
    def index() -> Response:
        return _file("index.html")

    @app.get("/static/<path:name>")
    def static_file(name: str) -> Response:
        return _file(name)

    @app.get(f"/{_TAG}")
    def tag() -> Response:
        newest = max(path.stat().st_mtime_ns for path in _FOLDER.glob("*.js"))
        return _answer(_bundled(newest), ".js")


def _file(name: str) -> Response:
    path = safe_join(str(_FOLDER), name)
    if path is None or Path(path).suffix not in _CONTENT_TYPES or not Path(path).is_file():
        abort(404)
    response = _answer(_content(path, Path(path).stat().st_mtime_ns), Path(path).suffix)
    if Path(path).suffix == ".html" and Path(path).name not in _WITHOUT_POLICY:
        response.headers["Content-Security-Policy"] = _POLICY
    return response


@functools.lru_cache(128)
def _content(path: str, _changed: int) -> bytes:
    """Return what is sent of a file. A file that changes is read again."""
    content = Path(path).read_bytes()
    return without_comments(content) if path.endswith((".js", ".css")) else content


@functools.lru_cache(1)
def _bundled(_changed: int) -> bytes:
    return bundle(_TAG, lambda name: without_comments((_FOLDER / name).read_bytes()).decode()).encode()


_compress = functools.lru_cache(128)(functools.partial(gzip.compress, mtime=0))


def _answer(content: bytes, suffix: str) -> Response:
    response = Response(content, mimetype=_CONTENT_TYPES[suffix])
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if suffix in _COMPRESSED:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            response.set_data(_compress(content))
            response.headers["Content-Encoding"] = "gzip"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]
