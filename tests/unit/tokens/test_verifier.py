"""A token is what its key, its audience and the time make it, and nothing that it says of itself changes that."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.tokens import keys
from emostream.tokens.keys import Key
from emostream.tokens.verifier import TokenError, Verifier, issue
from tests.unit.tokens.signing import (
    AUDIENCE,
    NOW,
    OTHER_SECRET,
    PRIVATE_KEYS,
    SECRET,
    jwk,
    jwks,
    payload,
    private,
    public_pem,
    signed,
)

LEEWAY_SECONDS = 10


def verifier(*own: Key, max_cached: int = 100) -> Verifier:
    return Verifier(own or keys.of_secrets(SECRET), AUDIENCE, LEEWAY_SECONDS, max_cached)


SHARED = verifier(Key("HS256", SECRET))
PUBLIC = verifier(*keys.of_jwks(jwks(*(jwk(algorithm, algorithm) for algorithm in PRIVATE_KEYS))))


def reason(token: str, now: float = NOW, checked_by: Verifier = SHARED) -> str:
    """Why a token is refused; empty if it is good."""
    try:
        checked_by.verify(token, now)
    except TokenError as error:
        return error.reason
    return ""


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    """A token with any header, which nobody signed."""

    def part(content: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload())}.{signature}"


def test_a_good_token_says_who_may_do_what() -> None:
    claims = SHARED.verify(signed(nbf=int(NOW) - 5), NOW)
    assert (claims.user_id, claims.starts, claims.expires) == ("u1", NOW - 5, NOW + 60)
    assert claims.allow("final", ["watch"])
    assert claims.allow("final", ["relay", "react"])
    assert not claims.allow("final", ["relay"])
    assert not claims.allow("main", ["watch"])


def test_what_is_not_named_is_not_given() -> None:
    assert not SHARED.verify(signed(events=None), NOW).allow("main", ["watch"])
    assert not SHARED.verify(signed(may=None), NOW).allow("final", ["watch"])
    assert SHARED.verify(signed(events=["*"]), NOW).allow("anything", ["watch"])


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_each_algorithm_works_with_and_without_the_id_of_a_key(algorithm: str) -> None:
    for key_id in (None, algorithm):
        token = issue(private(algorithm, key_id), "u1", audience=AUDIENCE, expires=NOW + 60)
        assert reason(token, checked_by=PUBLIC) == ""
    assert reason(signed(PRIVATE_KEYS[algorithm], algorithm, "other"), checked_by=PUBLIC) == "signature"


@pytest.mark.parametrize(
    ("seconds_left", "refused"),
    [(60, ""), (1, ""), (0, ""), (1 - LEEWAY_SECONDS, ""), (-LEEWAY_SECONDS, "expired"), (-3_600, "expired")],
)
def test_an_expired_token_is_good_for_the_leeway_of_the_clocks(seconds_left: int, refused: str) -> None:
    assert reason(signed(exp=int(NOW) + seconds_left)) == refused


@pytest.mark.parametrize(
    ("seconds_early", "refused"), [(0, ""), (LEEWAY_SECONDS, ""), (LEEWAY_SECONDS + 1, "early"), (3_600, "early")]
)
def test_a_token_is_not_valid_before_its_time(seconds_early: int, refused: str) -> None:
    assert reason(signed(nbf=int(NOW) + seconds_early)) == refused


def test_a_token_that_is_remembered_expires_too() -> None:
    token = signed()
    assert reason(token) == ""
    assert reason(token, NOW + 60 + LEEWAY_SECONDS) == "expired"


@pytest.mark.parametrize("name", ["none", "None", "NONE", ""])
def test_a_token_that_nobody_signed_is_refused(name: str) -> None:
    for checked_by in (SHARED, PUBLIC):
        assert reason(unsigned({"alg": name, "typ": "JWT"}), checked_by=checked_by) in {"signature", "malformed"}
        assert reason(unsigned({"alg": name}, "AA"), checked_by=checked_by) in {"signature", "malformed"}


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """An attacker knows the public key, and signs by HMAC with it."""
    head = unsigned({"alg": "HS256", "kid": algorithm}).rpartition(".")[0]
    mac = hmac.new(public_pem(algorithm), head.encode(), hashlib.sha256).digest()
    token = f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert reason(token, checked_by=PUBLIC) == "signature"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_than_that_of_the_key_is_refused(algorithm: str) -> None:
    assert reason(jwt.encode(payload(), SECRET * 2, algorithm)) == "signature"


def test_the_key_of_a_header_is_not_used() -> None:
    key = jwt.encode(payload(), PRIVATE_KEYS["ES256"], "ES256", headers={"jwk": jwk("ES256", "x"), "kid": "RS256"})
    assert reason(key, checked_by=PUBLIC) == "signature"


def test_another_secret_and_another_audience_are_refused() -> None:
    assert reason(signed(OTHER_SECRET)) == "signature"
    assert reason(signed(aud="elsewhere")) == "audience"
    assert reason(signed(aud=["elsewhere", AUDIENCE])) == ""


def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, rest = signed().partition(".")
    forged = base64.urlsafe_b64encode(json.dumps(payload(sub="admin")).encode()).rstrip(b"=").decode()
    assert reason(f"{head}.{forged}.{rest.rpartition('.')[2]}") == "signature"


@pytest.mark.parametrize("claim", ["sub", "exp", "aud"])
def test_a_token_without_a_claim_that_it_needs_is_refused(claim: str) -> None:
    assert reason(signed(**{claim: None})) in {"malformed", "audience"}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"nbf": "now"},
        {"sub": ""},
        {"sub": "x" * 65},
        {"sub": "a\nb"},
        {"sub": 7},
        {"events": "final"},
        {"may": {"react": 1}},
    ],
)
def test_a_claim_of_another_type_is_refused(changes: dict[str, Any]) -> None:
    assert reason(signed(**changes)) == "malformed"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 5_000, "é.é.é", "\ud800", "eyJhbGciOiJIUzI1NiJ9.e30."])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert reason(token) in {"malformed", "signature", "audience"}


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_refused_without_another_error(text: str) -> None:
    assert reason(text)
    assert reason(f"{signed()[:-20]}{text}") != "" or text == signed()[-20:]


def test_a_new_secret_is_good_beside_the_old_one_until_that_is_gone() -> None:
    both = verifier(Key("HS256", OTHER_SECRET), Key("HS256", SECRET))
    assert reason(signed(SECRET), checked_by=both) == ""
    assert reason(signed(OTHER_SECRET), checked_by=both) == ""
    assert reason(signed(SECRET), checked_by=verifier(Key("HS256", OTHER_SECRET))) == "signature"


def test_no_more_tokens_are_remembered_than_the_bound() -> None:
    small = verifier(Key("HS256", SECRET), max_cached=3)
    tokens = [signed(sub=f"u{number}") for number in range(10)]
    for token in tokens:
        small.verify(token, NOW)
    assert list(small._cached) == tokens[-3:]
    small.verify(tokens[-1], NOW)
    with pytest.raises(TokenError):
        small.verify("junk", NOW)
    assert list(small._cached) == tokens[-3:]
