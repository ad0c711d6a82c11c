"""Which CORS headers an answer carries."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.runtime import cors

LISTED = ("https://page.example", "https://other.example")
ANYBODY = ("*",)


@pytest.mark.parametrize("origin", [None, "https://page.example"])
def test_where_any_origin_is_allowed_the_answer_is_the_same_for_all(origin: str | None) -> None:
    assert cors.headers(ANYBODY, origin) == [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", "Retry-After, X-Request-Id"),
    ]


def test_a_listed_origin_is_named_and_may_read_retry_after() -> None:
    assert cors.headers(LISTED, "https://page.example") == [
        ("Access-Control-Allow-Origin", "https://page.example"),
        ("Access-Control-Expose-Headers", "Retry-After, X-Request-Id"),
        ("Vary", "Origin"),
    ]


@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null", "https://page.example.evil.example"])
def test_an_answer_that_depends_on_the_origin_says_so_to_everybody(origin: str | None) -> None:
    assert cors.headers(LISTED, origin) == [("Vary", "Origin")]


def test_a_service_that_no_page_may_read_says_nothing() -> None:
    assert cors.headers((), "https://page.example") == []
    assert cors.preflight((), "https://page.example", "GET", "x-a") == []


def test_a_preflight_allows_the_headers_that_it_asks_for() -> None:
    answer = dict(cors.preflight(LISTED, "https://page.example", "GET, POST", "authorization,sentry-trace, baggage"))
    assert answer["Access-Control-Allow-Headers"] == "authorization, sentry-trace, baggage"
    assert answer["Access-Control-Allow-Methods"] == "GET, POST"
    assert answer["Access-Control-Max-Age"] == "86400"
    assert answer["Vary"] == "Access-Control-Request-Headers"


@pytest.mark.parametrize("requested", [None, "", " , ", "é, a b"])
def test_a_preflight_that_asks_for_no_header_is_allowed_to_send_json(requested: str | None) -> None:
    answer = dict(cors.preflight(ANYBODY, "https://page.example", "POST", requested))
    assert answer["Access-Control-Allow-Headers"] == "Content-Type"


def test_a_preflight_of_another_origin_allows_nothing() -> None:
    assert cors.preflight(LISTED, "https://elsewhere.example", "POST", "x-a") == [
        ("Vary", "Access-Control-Request-Headers")
    ]


@settings(deadline=None)
@given(st.text(max_size=3_000))
def test_nothing_but_header_names_is_echoed(requested: str) -> None:
    answer = dict(cors.preflight(ANYBODY, "https://page.example", "POST", requested))
    echoed = answer["Access-Control-Allow-Headers"]
    assert set(echoed) <= set(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-, ")
    assert len(echoed) <= 2_100


@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        (ANYBODY, "https://elsewhere.example", True),
        (LISTED, "https://page.example", True),
        (LISTED, "https://elsewhere.example", False),
        (LISTED, None, True),
        ((), "https://page.example", False),
    ],
)
def test_whom_a_service_serves(origins: tuple[str, ...], origin: str | None, *, expected: bool) -> None:
    assert cors.allows(origins, origin) is expected
