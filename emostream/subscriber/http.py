"""The little of HTTP/1.1 that an edge server needs: a request's head, short answers, and the head of an endless one."""

import email.utils
import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

import httptools

from emostream.model import MAIN, encode_problem
from emostream.tokens.gate import bearer

# The subprotocol of our WebSockets. A page that sends a token offers both: `new WebSocket(url, ["emostream", token])`.
PROTOCOL = "emostream"

Headers = Iterable[tuple[str, str]]
_FORBIDDEN = ("q=0", "q=0.0", "q=0.00", "q=0.000")


@dataclass(slots=True)
class Request:
    """The head of a request; a body is never read.

    Raises ValueError where HTTP/1.1 allows no such head, and httptools.HttpParserInvalidURLError where the target is
    no URL.
    """

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    path: str = field(init=False)
    query: Mapping[str, str] = field(init=False)
    event: str = field(init=False, default=MAIN)
    """What the path is about; who routes the request sets it."""
    stays_seconds: float | None = field(init=False, default=None)
    """How long its viewer may stay; who checks its token sets it."""

    def __post_init__(self) -> None:
        if self.version == "1.1" and sum(name.lower() == "host" for name, _ in self.headers) != 1:
            raise ValueError("An HTTP/1.1 request has exactly one Host header")
        url = httptools.parse_url(self.target.encode("latin-1"))
        self.path = (url.path or b"/").decode("latin-1")
        self.query = dict(parse_qsl((url.query or b"").decode("latin-1"), keep_blank_values=True))

    @property
    def accepts_gzip(self) -> bool:
        """Whether the answer may be in gzip. Quality values matter only where they forbid it (RFC 9110, 12.5.3)."""
        offered = {}
        for part in (self.header("accept-encoding") or "").lower().split(","):
            coding, _, quality = part.replace(" ", "").partition(";")
            offered[coding] = quality not in _FORBIDDEN
        return offered.get("gzip", offered.get("*", False))

    @property
    def offered_protocols(self) -> list[str]:
        """The subprotocols that a WebSocket offers."""
        return [part.strip() for part in (self.header("sec-websocket-protocol") or "").split(",") if part.strip()]

    @property
    def token(self) -> str | None:
        """The viewer's token: in a header, or where a browser can put it for an EventSource and a WebSocket."""
        offered = next((name for name in self.offered_protocols if name != PROTOCOL), None)
        return bearer(self.header("authorization")) or self.query.get("access_token") or offered

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return find(self.headers, name)


def find(headers: Headers, name: str) -> str | None:
    """The first value of a header, by its lower-case name."""
    return next((value for key, value in headers if key.lower() == name), None)


def answer(status: HTTPStatus, content_type: str, body: bytes, headers: Headers = ()) -> bytes:
    """A whole answer, after which the connection closes."""
    return head(status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *headers]) + body


def problem(status: HTTPStatus, detail: str, headers: Headers = (), **more: str) -> bytes:
    """An error; `more` are further fields of `Problem`."""
    return answer(status, "application/problem+json", encode_problem(status, detail, **more), headers)


def head(status: HTTPStatus, headers: Headers) -> bytes:
    """A status line and headers, with the date. `Connection: close` is there unless `headers` say otherwise."""
    lines = [("Date", _date(int(time.time()))), *headers]
    if find(lines, "connection") is None:
        lines.append(("Connection", "close"))
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{text}\r\n".encode("latin-1")


def head_of(response: bytes) -> bytes:
    """A whole answer without its body, as HEAD gets it."""
    return response[: response.index(b"\r\n\r\n") + 4]


@functools.lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    """Of the second, as HTTP writes it: to make it took a quarter of an answer's time, while thousands connect."""
    return email.utils.formatdate(seconds, usegmt=True)
