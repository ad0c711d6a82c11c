"""Which files give keys."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from emostream.tokens import keys
from emostream.tokens.keys import KeysError
from tests.unit.tokens.signing import PRIVATE_KEYS, SECRET, jwk, jwks, pem


def test_each_line_of_a_file_of_secrets_is_a_key() -> None:
    found = keys.of_secrets(b"x" * 32 + b"\n\n" + b"y" * 40 + b"\n")
    assert [(key.algorithm, key.key) for key in found] == [("HS256", b"x" * 32), ("HS256", b"y" * 40)]


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 31, b"x" * 32 + b"\nshort"])
def test_a_secret_that_could_be_guessed_is_refused(content: bytes) -> None:
    with pytest.raises(KeysError, match="at least 32 characters"):
        keys.of_secrets(content)


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_key_has_the_algorithm_of_its_kind(algorithm: str) -> None:
    [public] = keys.of_jwks(jwks(jwk(algorithm, "k1")))
    assert (public.algorithm, public.id) == (algorithm, "k1")
    assert keys.of_private_key(pem(algorithm), "k1").algorithm == algorithm


def test_keys_for_something_else_are_left_out() -> None:
    others = [jwk("RS256", "e", use="enc"), jwk("RS256", "p", alg="PS256"), {"kty": "EC", "crv": "P-384"}]
    assert [key.id for key in keys.of_jwks(jwks(*others, jwk("ES256", "k1")))] == ["k1"]
    with pytest.raises(KeysError, match="no public key"):
        keys.of_jwks(jwks(*others))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"keys": [7]}', b"\xff"])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(KeysError, match="no JSON Web Key Set"):
        keys.of_jwks(content)


def test_a_key_set_with_secrets_is_refused() -> None:
    with pytest.raises(KeysError, match="only public keys"):
        keys.of_jwks(jwks({"kty": "oct", "k": "c2VjcmV0"}))
    with pytest.raises(KeysError, match="only public keys"):
        keys.of_jwks(jwks(jwk("EdDSA", "k1", d="AA")))


def test_malformed_and_weak_keys_are_refused() -> None:
    with pytest.raises(KeysError, match="the key k1 is malformed"):
        keys.of_jwks(jwks({**jwk("ES256", "k1"), "x": "AA"}))
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505
    entry = json.loads(RSAAlgorithm.to_jwk(weak.public_key()))
    entry.pop("key_ops", None)
    with pytest.raises(KeysError, match="less than 2048 bits"):
        keys.of_jwks(jwks({**entry, "kid": "k1"}))


@pytest.mark.parametrize("content", [b"", SECRET])
def test_what_is_no_private_key_is_refused(content: bytes) -> None:
    with pytest.raises(KeysError, match="no private key"):
        keys.of_private_key(content, None)
