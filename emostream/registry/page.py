"""The web page's files, as the registry serves them, and what the page needs to know."""

from pathlib import Path
from typing import Annotated

import msgspec
from flask import Flask, Response, abort, send_from_directory

from emostream import web

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


class PageConfig(msgspec.Struct, frozen=True):
    """The answer to GET /v1/config."""

    ingest_url: str
    live_topology: Annotated[
        bool, msgspec.Meta(description="Whether this registry answers /v1/topology/live to everybody.")
    ]


def add_to(app: Flask) -> None:
    """Serve GET / and GET /static/..., to be revalidated at each use, so that a new release is seen at once."""

    @app.get("/")
    def index() -> Response:
        return _file("index.html")

    @app.get("/static/<path:name>")
    def static_file(name: str) -> Response:
        return _file(name)


def _file(name: str) -> Response:
    content_type = _CONTENT_TYPES.get(Path(name).suffix)
    if content_type is None:
        abort(404)
    response = send_from_directory(_FOLDER, name, mimetype=content_type)
    response.headers["Cache-Control"] = "no-cache"
    return response
