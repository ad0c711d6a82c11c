"""Lets a request through or refuses it, by its token and the keys in a file. A file that changes is read again."""

import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from emostream import model
from emostream.config import TokensSettings
from emostream.errors import ConfigurationError, EmoStreamError
from emostream.runtime import logs
from emostream.tokens import keys, metrics
from emostream.tokens.keys import Key
from emostream.tokens.verifier import Claims, Right, TokenError, Verifier, issue

log = logs.get(__name__)

_LOOK_SECONDS = 1.0
_SCHEME = "bearer "

Stamp = tuple[int, int, int]
"""By which a file that changed is known: its inode, its size, and when it was changed."""


class RefusedError(Exception):
    """A request without the right that it needs: 401 without a good token, 403 with one that does not give it."""

    def __init__(self, status: HTTPStatus, detail: str, challenge: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = [("WWW-Authenticate", f'Bearer realm="emostream"{challenge}')]


def bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` header; None if it has none."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip()


class Gate:
    """Checks the tokens of requests. Without a key in the settings everybody may do everything."""

    def __init__(
        self,
        settings: TokensSettings,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigurationError if the file gives no key."""
        self._settings = settings
        self._file = Path(settings.secret_file or settings.jwks_file)
        self._now = now
        self._monotonic = monotonic
        self._stamp: Stamp | None = None
        self._look_at = 0.0
        self.is_open = not (settings.secret_file or settings.jwks_file)
        self.has_guests = settings.guests
        self.jitter_seconds = settings.jitter_seconds
        self._keys: tuple[Key, ...] = ()
        if not self.is_open:
            self._stamp = _stamp(self._file)
            self._use(read_keys(settings))

    def check(self, token: str | None, event: str, *rights: Right) -> Claims | None:
        """Return what the token says if it gives one of these rights to the event, and None if none is needed.

        Raises RefusedError.
        """
        if self.is_open:
            return None
        self._follow_file()
        if not token:
            metrics.REFUSALS.labels("missing").inc()
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Send a token: `Authorization: Bearer TOKEN`.")
        try:
            claims = self._verifier.verify(token, self._now())
        except TokenError as error:
            metrics.REFUSALS.labels(error.reason).inc()
            challenge = ', error="invalid_token"'
            raise RefusedError(HTTPStatus.UNAUTHORIZED, str(error), challenge) from error
        if not claims.allow(event, rights):
            metrics.REFUSALS.labels("right").inc()
            shown = event[: model.MAX_EVENT_CHARACTERS + 1]
            detail = f"The token does not give the right to {' or '.join(rights)} the event {shown}."
            raise RefusedError(HTTPStatus.FORBIDDEN, detail, ', error="insufficient_scope"')
        return claims

    def sign_guest(self, user_id: str) -> tuple[str, int]:
        """A token of a guest, who may watch and react everywhere, and when it expires, in seconds since the epoch."""
        self._follow_file()
        expires = int(self._now()) + self._settings.guest_seconds
        return issue(self._keys[0], user_id, audience=self._settings.audience, expires=expires), expires

    def _follow_file(self) -> None:
        """Read the keys again if their file has changed, which is looked for once a second."""
        if self._monotonic() < self._look_at:
            return
        self._look_at = self._monotonic() + _LOOK_SECONDS
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._use(read_keys(self._settings))
            log.info("the keys of the tokens were read again", file=str(self._file), keys=len(self._keys))
        except (EmoStreamError, OSError) as error:
            metrics.FAILED_RELOADS.inc()
            log.error("the keys of the tokens cannot be read; the old ones stay", error=str(error))

    def _use(self, found: tuple[Key, ...]) -> None:
        settings = self._settings
        self._keys = found
        # With its cache: a token of a key that is gone must not be remembered.
        self._verifier = Verifier(found, settings.audience, settings.leeway_seconds, settings.max_cached)
        metrics.KEYS.set(len(found))


def read_keys(settings: TokensSettings) -> tuple[Key, ...]:
    """The keys of the file that the settings name. Raises ConfigurationError."""
    field = "secret_file" if settings.secret_file else "jwks_file"
    path = getattr(settings, field)
    try:
        content = Path(path).read_bytes()
        return keys.of_secrets(content) if settings.secret_file else keys.of_jwks(content)
    except (OSError, EmoStreamError) as error:
        raise ConfigurationError(f"{settings.variable(field)}={path} gives no key: {error}.") from error


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
