"""Requests are well formed, and responses are found whole however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client.http1 import (
    MAX_BODY_BYTES,
    Address,
    MalformedResponseError,
    Response,
    ResponseReader,
    get,
    post_json,
)

PROBLEM = b'{"title": "Service Unavailable", "detail": "Every subscriber is full."}'
TWO_RESPONSES = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-One: a\r\n\r\n{}"
    b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"
    + b"%x\r\n%s\r\n0\r\n\r\n"
    % (len(PROBLEM), PROBLEM)
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a/b?c=d", Address("a", 80, False, "/b?c=d")),
        ("https://a:1", Address("a", 1, True, "/")),
        ("ws://[::1]:9/x", Address("::1", 9, False, "/x")),
        ("wss://a/", Address("a", 443, True, "/")),
    ],
)
def test_an_address_of_each_kind(url: str, address: Address) -> None:
    assert Address.of(url) == address


@pytest.mark.parametrize("url", ["", "a:80", "ftp://a", "http://", "http://a:port/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|Port"):
        Address.of(url)


def test_requests() -> None:
    address = Address.of("http://[::1]:8000/v1/x")
    assert get(address, {"Accept": "a"}).startswith(b"GET /v1/x HTTP/1.1\r\nHost: [::1]:8000\r\n")
    assert post_json(address, b"[1]").endswith(b"Content-Length: 3\r\n\r\n[1]")


@given(st.lists(st.integers(0, len(TWO_RESPONSES))))
def test_the_cuts_do_not_matter(cuts: list[int]) -> None:
    reader = ResponseReader()
    ends = [*sorted(cuts), len(TWO_RESPONSES)]
    pieces = [TWO_RESPONSES[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    first, second = [response for piece in pieces for response in reader.feed(piece)]
    assert (first.status, first.body, first.headers["x-one"], first.keeps_alive) == (202, b"{}", "a", True)
    assert (second.status, second.body, second.retry_after_seconds, second.keeps_alive) == (503, PROBLEM, 2, False)
    assert (first.reason, second.reason) == ("the answer was 202", "Every subscriber is full.")


def test_an_endless_body_is_taken_in_pieces() -> None:
    reader = ResponseReader()
    assert reader.status is None
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab") == []
    assert (reader.status, reader.take_body()) == (200, b"ab")
    reader.feed(b"c")
    assert (reader.take_body(), reader.take_body()) == (b"c", b"")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_is_no_http_is_told(data: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        ResponseReader().feed(data)


def test_a_huge_body_is_given_up() -> None:
    reader = ResponseReader()
    with pytest.raises(MalformedResponseError, match="larger"):
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BODY_BYTES + 1))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail": 7}', b"\xff", b'{"detail": "\xff"}'])
def test_a_body_that_is_no_problem_leaves_the_status_as_reason(body: bytes) -> None:
    assert Response(502, {}, body, keeps_alive=True).reason == "the answer was 502"


@pytest.mark.parametrize("text", ["soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 30, "²"])
def test_a_retry_after_that_is_no_number_is_none(text: str) -> None:
    assert Response(503, {"retry-after": text}, b"", keeps_alive=True).retry_after_seconds is None
