"""The keys that sign tokens, and those that check them, from the content of a file. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from emostream import model
from emostream.errors import EmoStreamError

# HS256 is no stronger than its secret, so a short one could be found by trying.
MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048

# The one algorithm of each kind of key. A token that names another one is refused, so its header decides nothing.
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


class KeysError(EmoStreamError):
    """The content of a file gives no key. The message says why."""


@dataclass(frozen=True)
class Key:
    """A key with the only algorithm that it is used with. A token may name it by its id."""

    algorithm: str
    key: Any
    id: str | None = None


def of_secrets(content: bytes) -> tuple[Key, ...]:
    """The keys of a file of secrets, one a line. The first one signs, and all of them check.

    So a new secret is put first, and the old one goes when its last token has expired. Raises KeysError.
    """
    secrets = content.split()
    if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
        raise KeysError(f"it must hold secrets of at least {MIN_SECRET_BYTES} characters, one a line")
    return tuple(Key("HS256", secret) for secret in secrets)


def of_jwks(content: bytes) -> tuple[Key, ...]:
    """The public keys of a JSON Web Key Set. Keys of other kinds are left out. Raises KeysError if none is left."""
    try:
        entries = model.decode(content, _KeySet).keys
    except msgspec.DecodeError as error:
        raise KeysError(f"it is no JSON Web Key Set: {error}") from error
    found = tuple(_public_keys(entries))
    if not found:
        raise KeysError("it has no public key for RS256, ES256 or EdDSA")
    return found


def of_private_key(pem: bytes, key_id: str | None) -> Key:
    """The key that signs, from a PEM file. Raises KeysError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeysError(f"it is no private key in PEM without a password: {error}") from error
    if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return Key("RS256", key, key_id)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return Key("ES256", key, key_id)
    if isinstance(key, Ed25519PrivateKey):
        return Key("EdDSA", key, key_id)
    raise KeysError(f"it must be RSA of {MIN_RSA_BITS} bits or more, P-256 or Ed25519")


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _public_keys(entries: list[dict[str, Any]]) -> Iterator[Key]:
    for entry in entries:
        algorithm = _ALGORITHMS.get((str(entry.get("kty")), entry.get("crv")))
        if "d" in entry or entry.get("kty") == "oct":
            raise KeysError("it holds a secret or a private key: only public keys belong there")
        if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = PyJWK(entry, algorithm).key
        except PyJWTError as error:
            raise KeysError(f"the key {entry.get('kid')} is malformed: {error}") from error
        if algorithm == "RS256" and key.key_size < MIN_RSA_BITS:
            raise KeysError(f"the key {entry.get('kid')} has less than {MIN_RSA_BITS} bits")
        yield Key(algorithm, key, entry.get("kid"))
