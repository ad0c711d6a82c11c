"""HTTP/1.1 as a client needs it: requests to bytes, bytes to responses. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools
import msgspec

from emostream import model

# Past it a response is given up: none of ours comes near.
MAX_BODY_BYTES = 4 << 20


class MalformedResponseError(Exception):
    """What came is no HTTP response, or far too large a one; its connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and what to ask for there."""

    host: str
    port: int
    is_secure: bool
    target: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address of an http, https, ws or wss URL. Raises ValueError where it is none of them."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
            raise ValueError(f"{url!r} is no http, https, ws or wss URL")
        is_secure = parts.scheme in {"https", "wss"}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or (443 if is_secure else 80), is_secure, target)

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    keeps_alive: bool

    @property
    def reason(self) -> str:
        """The sentence of a problem+json answer, or its status where there is none."""
        try:
            problem = model.decode(self.body, _Problem)
        except msgspec.DecodeError:
            problem = _Problem()
        return problem.detail or problem.title or f"the answer was {self.status}"

    @property
    def retry_after_seconds(self) -> float | None:
        """`Retry-After` where it is a number of seconds, as ours is."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


class _Problem(msgspec.Struct):
    detail: str = ""
    title: str = ""


def get(address: Address, headers: Mapping[str, str]) -> bytes:
    """A GET request."""
    return _request("GET", address, headers)


def post_json(address: Address, body: bytes) -> bytes:
    """A POST request of a JSON body."""
    return _request("POST", address, {"Content-Type": "application/json", "Content-Length": str(len(body))}) + body


def _request(method: str, address: Address, headers: Mapping[str, str]) -> bytes:
    lines = {"Host": address.authority, "User-Agent": "emostream", **headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {address.target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


class ResponseReader:
    """Reads the responses of one connection, one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._whole: list[Response] = []
        self.status: int | None = None
        """Of the response that is coming in now, once its head is whole."""

    def feed(self, piece: bytes) -> list[Response]:
        """The responses that this piece completes. Raises MalformedResponseError."""
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as error:
            raise MalformedResponseError(f"the answer is not HTTP: {error}") from error
        if self._body_bytes > MAX_BODY_BYTES:
            raise MalformedResponseError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        whole, self._whole = self._whole, []
        return whole

    def take_body(self) -> bytes:
        """What has come of the body of the response that is coming in now: for one that never ends."""
        body, self._body, self._body_bytes = b"".join(self._body), [], 0
        return body

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        self._body.append(piece)

    def on_message_complete(self) -> None:
        keeps_alive = self._parser.should_keep_alive()
        self._whole.append(Response(self._parser.get_status_code(), self._headers, self.take_body(), keeps_alive))
        self.status = None
