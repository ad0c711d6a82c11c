"""Keys and tokens for tests: good ones, and those of an attacker."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

from emostream.tokens.keys import Key

NOW = 1_800_000_000.0
AUDIENCE = "emostream"
SECRET = b"an-operators-secret-of-32-bytes-"
OTHER_SECRET = b"another-secret-of-32-bytes-or-so"
PRIVATE_KEYS = {
    "RS256": rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(algorithm: str) -> bytes:
    """A private key as PEM."""
    return PRIVATE_KEYS[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(algorithm: str) -> bytes:
    return PRIVATE_KEYS[algorithm].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(algorithm: str, key_id: str, **more: str) -> dict[str, Any]:
    """A public key as an entry of a JSON Web Key Set."""
    public: Any = PRIVATE_KEYS[algorithm].public_key()
    entry: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)  # type: ignore[attr-defined]
    entry.pop("key_ops", None)
    return {**entry, "kid": key_id, **more}


def jwks(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def payload(**changes: Any) -> dict[str, Any]:
    """Claims that are good at NOW; a change to None leaves one out."""
    claims = {
        "sub": "u1",
        "aud": AUDIENCE,
        "exp": int(NOW) + 60,
        "events": ["final"],
        "may": ["react", "watch"],
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", key_id: str | None = None, **changes: Any) -> str:
    return jwt.encode(payload(**changes), key, algorithm, headers={"kid": key_id} if key_id else None)


def private(algorithm: str, key_id: str | None = None) -> Key:
    return Key(algorithm, PRIVATE_KEYS[algorithm], key_id)
