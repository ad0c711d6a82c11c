"""Measures what tokens and limits cost a request: `python -m emostream_lab.bench.doors`."""

import tempfile
import time
import timeit
from collections.abc import Callable
from itertools import cycle
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from emostream import config
from emostream.config import TokensSettings
from emostream.ingest.limits import UserLimits
from emostream.registry.pending import PendingByAddress
from emostream.tokens.gate import Gate
from emostream.tokens.keys import Key
from emostream.tokens.verifier import Verifier, issue

USERS = 10_000
CALLS = 50_000
_SECRET = "x" * 32


def main() -> None:
    users = [f"user-{number}" for number in range(USERS)]
    limits, pending = UserLimits(10, 20, 100_000), PendingByAddress(1_000, 10)
    addresses = [f"192.0.2.{number % 250}" for number in range(USERS)]

    def limit(user: str) -> None:
        limits.take(user, 1, time.monotonic())

    def reserve(address: str) -> None:
        if pending.has_room(address, time.monotonic()):
            pending.take(address, time.monotonic())

    print(f"Microseconds a request, over {USERS:,} users:")
    show("the limit of a user", limit, users, CALLS)
    show("the limit of an address", reserve, addresses, CALLS)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(_SECRET)
        file.flush()
        gate = Gate(config.load(TokensSettings, secret_file=file.name))
        tokens = [sign(Key("HS256", _SECRET.encode()), user) for user in users]
        for token in tokens:
            gate.check(token, "main", "react")
        show("a token that is remembered", lambda token: gate.check(token, "main", "react"), tokens, CALLS)
    for algorithm, (private, public) in _key_pairs().items():
        verifier = Verifier([Key(algorithm, public)], "emostream", 10, USERS)
        token = sign(Key(algorithm, private), "u1")
        show(f"a new token, {algorithm}", verifier._decode, [token], 1_000)


def sign(key: Key, user: str) -> str:
    return issue(key, user, audience="emostream", expires=time.time() + 600)


def show(name: str, act: Callable[[str], Any], arguments: list[str], calls: int) -> None:
    """Print the best of five rounds, since the others show what else the machine does."""
    following = cycle(arguments).__next__
    idle = min(timeit.repeat(following, number=calls, repeat=5))
    busy = min(timeit.repeat(lambda: act(following()), number=calls, repeat=5))
    print(f"  {name:<28}{(busy - idle) / calls * 1e6:>8.2f}")


def _key_pairs() -> dict[str, tuple[Any, Any]]:
    private: dict[str, Any] = {
        "RS256": rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    return {"HS256": (_SECRET.encode(), _SECRET.encode())} | {
        algorithm: (key, key.public_key()) for algorithm, key in private.items()
    }


if __name__ == "__main__":
    main()
