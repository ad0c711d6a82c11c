"""Tokens for our own tools: the terminal client, `emostream verify` and the simulated audiences."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from emostream import config
from emostream.config import ClientSettings, TokensSettings
from emostream.errors import EmoStreamError
from emostream.tokens.gate import read_keys
from emostream.tokens.verifier import Right, issue

# Long enough for most runs, and short enough that the others see that a viewer renews its token.
_LIFE_SECONDS = 3_600


class OwnTokens:
    """Tokens from the settings: `client.token_file` has one, or `tokens.secret_file` signs any."""

    def __init__(self, client: ClientSettings, tokens: TokensSettings) -> None:
        """Raises ConfigurationError if the secret cannot be read."""
        self._file = client.token_file
        self._audience = tokens.audience
        self._key = read_keys(tokens)[0] if tokens.secret_file and not self._file else None

    @classmethod
    def load(cls) -> "OwnTokens":
        """From the environment. Raises ConfigurationError."""
        return cls(config.load(ClientSettings), config.load(TokensSettings))

    def sign(self, user_id: str, *may: Right) -> str | None:
        """A token that gives this user these rights to all events; None if the settings name no file.

        Raises EmoStreamError if the file cannot be read.
        """
        if self._key is not None:
            expires = time.time() + _LIFE_SECONDS
            return issue(self._key, user_id, audience=self._audience, expires=expires, may=may)
        try:
            return Path(self._file).read_text().strip() if self._file else None
        except OSError as error:
            variable = ClientSettings.variable("token_file")
            raise EmoStreamError(f"{variable}={self._file} cannot be read: {error.strerror}.") from error

    def source(self, user_id: str, *may: Right) -> Callable[[], Awaitable[str]] | None:
        """What a client asks for a token, and for the next one when that has expired; None if none is needed."""
        if not self._file and self._key is None:
            return None

        async def renew() -> str:
            return self.sign(user_id, *may) or ""

        return renew

    def kept(self, user_id: str, *may: Right) -> Callable[[], str | None]:
        """The same token for many requests, until half of its time is over."""
        token, renew_at = self.sign(user_id, *may), time.monotonic() + _LIFE_SECONDS / 2

        def newest() -> str | None:
            nonlocal token, renew_at
            if time.monotonic() >= renew_at:
                token, renew_at = self.sign(user_id, *may), time.monotonic() + _LIFE_SECONDS / 2
            return token

        return newest
