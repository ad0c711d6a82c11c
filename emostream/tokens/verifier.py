"""What a token must be, and what it allows. Pure: keys and time are arguments."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jwt
import msgspec
from jwt.exceptions import InvalidSignatureError, PyJWTError
from jwt.types import Options

from emostream.model import UserId
from emostream.tokens.keys import Key

Right = Literal["react", "watch", "relay"]
"""`react` as the token's user, `watch`, or `relay` reactions of other users, as a trusted server does."""

RIGHTS: tuple[Right, ...] = ("react", "watch", "relay")
ANY_EVENT = "*"
# A longer one is not looked at. The cache holds whole tokens, so this bounds its memory too.
MAX_TOKEN_CHARACTERS = 4_096

_CHECKS: Options = {
    "require": ["exp", "sub", "aud"],
    # Time is checked here, by the clock of the caller.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class TokenError(Exception):
    """The token cannot be used. The message says why, and is for its owner; `reason` is for a metric."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times are seconds since the epoch. A right or an event that is not named is not given."""

    user_id: str
    starts: float
    expires: float
    events: frozenset[str]
    may: frozenset[str]

    def allow(self, event: str, rights: Collection[Right]) -> bool:
        """Whether its owner may do one of these with this event."""
        return (ANY_EVENT in self.events or event in self.events) and not self.may.isdisjoint(rights)


_Time = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]


class _Payload(msgspec.Struct):
    sub: UserId
    exp: _Time
    nbf: _Time = 0
    events: list[str] = []
    may: list[str] = []


class Verifier:
    """Checks tokens, and remembers the newest `max_cached` good ones, since a viewer shows the same one often."""

    def __init__(self, keys: Sequence[Key], audience: str, leeway_seconds: float, max_cached: int) -> None:
        """`leeway_seconds` is how far the clocks of issuer and verifier may differ."""
        self._keys = keys
        self._audience = audience
        self._leeway_seconds = leeway_seconds
        self._max_cached = max_cached
        # At most `max_cached`, in the order in which they came: the oldest one goes first.
        self._cached: dict[str, Claims] = {}

    def verify(self, token: str, now: float) -> Claims:
        """Return what the token says, if it is good now. Raises TokenError."""
        claims = self._cached.get(token)
        if claims is None:
            claims = self._decode(token)
        if now >= claims.expires + self._leeway_seconds:
            self._cached.pop(token, None)
            raise TokenError("expired", "The token has expired.")
        if now < claims.starts - self._leeway_seconds:
            raise TokenError("early", "The token is not valid yet.")
        if token not in self._cached:
            self._remember(token, claims)
        return claims

    def _remember(self, token: str, claims: Claims) -> None:
        if len(self._cached) >= self._max_cached:
            del self._cached[next(iter(self._cached))]
        self._cached[token] = claims

    def _decode(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenError("malformed", f"A token has {MAX_TOKEN_CHARACTERS} characters at most.")
        try:
            payload = msgspec.convert(self._signed_payload(token), _Payload)
        except msgspec.ValidationError as error:
            raise TokenError("malformed", f"The token has a bad claim: {error}.") from error
        except InvalidSignatureError as error:
            raise TokenError("signature", "The token is not signed by a key of this service.") from error
        except jwt.InvalidAudienceError as error:
            raise TokenError("audience", "The token is for another audience.") from error
        except (PyJWTError, ValueError) as error:
            # PyJWT lets some errors of the standard library through.
            raise TokenError("malformed", f"This is no token: {error}.") from error
        return Claims(payload.sub, payload.nbf, payload.exp, frozenset(payload.events), frozenset(payload.may))

    def _signed_payload(self, token: str) -> dict[str, Any]:
        for key in self._candidates(jwt.get_unverified_header(token)):
            try:
                # The key's algorithm decides. One that the token names is compared with it, and never followed.
                return jwt.decode(token, key.key, algorithms=[key.algorithm], audience=self._audience, options=_CHECKS)
            except InvalidSignatureError:
                continue
        raise InvalidSignatureError

    def _candidates(self, header: dict[str, Any]) -> Iterator[Key]:
        named = header.get("kid")
        for key in self._keys:
            if key.algorithm == header.get("alg") and (named is None or key.id in {None, named}):
                yield key


def issue(  # noqa: PLR0913 - each has a name at the call
    key: Key,
    user_id: str,
    *,
    audience: str,
    expires: float,
    events: Collection[str] = (ANY_EVENT,),
    may: Collection[str] = ("react", "watch"),
) -> str:
    """Sign a token of this user, who may do this with these events until it `expires`, in seconds since the epoch."""
    payload = {"sub": user_id, "aud": audience, "exp": int(expires), "events": sorted(events), "may": sorted(may)}
    return jwt.encode(payload, key.key, key.algorithm, headers={"kid": key.id} if key.id else None)
