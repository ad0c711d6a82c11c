"""HTTP/1.1 for a client: encodes requests and parses responses. Pure: no input or output."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httptools
import msgspec

from emostream import model

# A larger response is an error. EmoStream's own responses are far smaller.
MAX_BODY_BYTES = 4 << 20


class MalformedResponseError(Exception):
    """The data is not an HTTP response, or the response is too large. The connection cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL that a connection needs: the server, and the target of the request."""

    host: str
    port: int
    is_secure: bool
    target: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Parse an http, https, ws or wss URL. Raises ValueError for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
            raise ValueError(f"{url!r} is no http, https, ws or wss URL")
        is_secure = parts.scheme in {"https", "wss"}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or (443 if is_secure else 80), is_secure, target)

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    keeps_alive: bool

    @property
    def reason(self) -> str:
        """The explanation in a problem+json answer, or a sentence with the status if there is none."""
        return self._problem.detail or self._problem.title or f"the answer was {self.status}"

    @property
    def refuses_token(self) -> bool:
        """Whether another token might be accepted."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

    @property
    def refused_event(self) -> str:
        """The event that a problem+json answer is about, such as one that is unknown (404) or closed (410)."""
        return self._problem.event

    @property
    def retry_after_seconds(self) -> float | None:
        """The `Retry-After` header if it is a number of seconds, as EmoStream's services send it. Otherwise None."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None

    @property
    def _problem(self) -> "_Problem":
        try:
            return model.decode(self.body, _Problem)
        except msgspec.DecodeError:
            return _Problem()


class _Problem(msgspec.Struct):
    detail: str = ""
    title: str = ""
    event: str = ""


def get(address: Address, headers: Mapping[str, str]) -> bytes:
    """Encode a GET request."""
    return _request("GET", address, headers)


def post_json(address: Address, body: bytes, token: str | None = None) -> bytes:
    """Encode a POST request with a JSON body."""
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **authorization(token)}
    return _request("POST", address, headers) + body


def authorization(token: str | None) -> dict[str, str]:
    """The header with a token, if there is one."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _request(method: str, address: Address, headers: Mapping[str, str]) -> bytes:
    lines = {"Host": address.authority, "User-Agent": "emostream", **headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {address.target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


class ResponseReader:
    """Parses the responses of one connection, one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._whole: list[Response] = []
        self.status: int | None = None
        """The status of the response that is arriving now. None until its head is complete."""

    def feed(self, piece: bytes) -> list[Response]:
        """Parse a piece of data and return the responses that it completes. Raises MalformedResponseError."""
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as error:
            raise MalformedResponseError(f"the answer is not HTTP: {error}") from error
        if self._body_bytes > MAX_BODY_BYTES:
            raise MalformedResponseError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        whole, self._whole = self._whole, []
        return whole

    def take_body(self) -> bytes:
        """Return and remove the body received so far. For a response that never ends."""
        body, self._body, self._body_bytes = b"".join(self._body), [], 0
        return body

    # The parser calls the methods below.

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
