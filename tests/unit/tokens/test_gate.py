"""What a request gets: through, 401 or 403; and that a changed file is read without a restart."""

import os
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from click.testing import CliRunner

from emostream.cli import main
from emostream.config import ClientSettings, TokensSettings
from emostream.errors import ConfigurationError
from emostream.tokens.gate import Gate, RefusedError, bearer
from emostream.tokens.own import OwnTokens
from tests.unit.tokens.signing import NOW, OTHER_SECRET, PRIVATE_KEYS, SECRET, jwk, jwks, pem, signed


class Clock:
    """A clock that goes only when it is told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Door:
    """A gate with a file of its own."""

    def __init__(self, file: Path, secret: bytes = SECRET) -> None:
        self.file = file
        self.clock = Clock()
        file.write_bytes(secret)
        settings = TokensSettings(secret_file=str(file), guests=True, guest_seconds=100)
        self.gate = Gate(settings, now=lambda: NOW + self.clock(), monotonic=self.clock)

    def replace(self, content: bytes) -> None:
        """Put another file in its place, as a deployment does."""
        new = self.file.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, self.file)
        self.clock.seconds += 2

    def admits(self, secret: bytes) -> bool:
        try:
            self.gate.check(signed(secret), "final", "watch")
        except RefusedError as refused:
            return refused.status is not HTTPStatus.UNAUTHORIZED
        return True


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    return Door(tmp_path / "secret")


def test_without_a_key_everybody_may_do_everything() -> None:
    gate = Gate(TokensSettings())
    assert gate.is_open
    assert gate.check(None, "main", "react") is None
    assert gate.check("junk", "main", "react") is None


@pytest.mark.parametrize(
    ("token", "status", "challenge"),
    [
        (None, 401, 'Bearer realm="emostream"'),
        ("", 401, 'Bearer realm="emostream"'),
        ("junk", 401, 'Bearer realm="emostream", error="invalid_token"'),
        (signed(OTHER_SECRET), 401, 'Bearer realm="emostream", error="invalid_token"'),
        (signed(SECRET, may=["react"]), 403, 'Bearer realm="emostream", error="insufficient_scope"'),
        (signed(SECRET, events=["other"]), 403, 'Bearer realm="emostream", error="insufficient_scope"'),
    ],
)
def test_a_request_without_the_right_is_told_what_it_lacks(
    door: Door, token: str | None, status: int, challenge: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        door.gate.check(token, "final", "watch")
    assert refused.value.status == status
    assert refused.value.headers == [("WWW-Authenticate", challenge)]
    assert refused.value.detail


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), ("", None), ("Basic x", None), ("Bearer a.b.c", "a.b.c"), ("bearer  a ", "a"), ("Bearer", None)],
)
def test_the_header_has_the_token_after_its_scheme(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_keys_that_are_replaced_are_used_without_a_restart(door: Door) -> None:
    assert door.admits(SECRET)
    door.replace(OTHER_SECRET + b"\n" + SECRET)
    assert door.admits(SECRET)
    assert door.admits(OTHER_SECRET)
    door.replace(OTHER_SECRET)
    assert not door.admits(SECRET)
    assert door.admits(OTHER_SECRET)


def test_a_file_is_not_looked_at_for_each_request(door: Door) -> None:
    assert door.admits(SECRET)
    door.replace(OTHER_SECRET)
    door.clock.seconds -= 1.5
    assert door.admits(SECRET)


@pytest.mark.parametrize("content", [b"", b"short"])
def test_keys_stay_if_the_new_file_has_none(door: Door, content: bytes) -> None:
    door.replace(content)
    assert door.admits(SECRET)
    door.file.unlink()
    door.clock.seconds += 2
    assert door.admits(SECRET)
    door.replace(OTHER_SECRET)
    assert not door.admits(SECRET)


def test_a_guest_may_react_and_watch_until_the_token_expires(door: Door) -> None:
    token, expires = door.gate.sign_guest("guest-1")
    assert expires == int(NOW) + 100
    for event, right in (("main", "watch"), ("final", "react")):
        claims = door.gate.check(token, event, right)  # type: ignore[arg-type]
        assert claims is not None
        assert claims.user_id == "guest-1"
    with pytest.raises(RefusedError):
        door.gate.check(token, "main", "relay")
    door.clock.seconds = 200
    with pytest.raises(RefusedError):
        door.gate.check(token, "main", "watch")


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_service_does_not_start_without_the_keys_of_its_settings(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"EMOSTREAM_TOKENS_SECRET_FILE={file} gives no key"):
        Gate(TokensSettings(secret_file=str(file)))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        TokensSettings(secret_file="a", jwks_file="b")  # noqa: S106 (a name)
    with pytest.raises(ValueError, match="needs EMOSTREAM_TOKENS_SECRET_FILE"):
        TokensSettings(jwks_file="b", guests=True)


def test_an_operator_issues_a_token_with_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    environment = {"EMOSTREAM_TOKENS_SECRET_FILE": str(file)}
    options = ["--user", "u7", "--event", "final", "--may", "watch", "--for", "60"]
    issued = CliRunner().invoke(main, ["tokens", "issue", *options], env=environment)
    assert issued.exit_code == 0, issued.output
    gate = Gate(TokensSettings(secret_file=str(file)))
    claims = gate.check(issued.output.strip(), "final", "watch")
    assert claims is not None
    assert (claims.user_id, claims.events, claims.may) == ("u7", {"final"}, {"watch"})


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_an_operator_issues_a_token_with_a_private_key(tmp_path: Path, algorithm: str) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "jwks.json"
    key.write_bytes(pem(algorithm))
    public.write_bytes(jwks(jwk(algorithm, "k1")))
    options = ["--user", "u7", "--private-key", str(key), "--key-id", "k1"]
    issued = CliRunner().invoke(main, ["tokens", "issue", *options])
    assert issued.exit_code == 0, issued.output
    assert Gate(TokensSettings(jwks_file=str(public))).check(issued.output.strip(), "main", "react") is not None


def test_a_token_needs_a_key_to_sign_it() -> None:
    refused = CliRunner().invoke(main, ["tokens", "issue", "--user", "u7"], env={"EMOSTREAM_TOKENS_SECRET_FILE": ""})
    assert refused.exit_code == 2
    assert "--private-key" in refused.output


def test_our_own_tools_sign_or_read_their_tokens(tmp_path: Path) -> None:
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_bytes(SECRET)
    token.write_text("a.b.c\n")
    settings = TokensSettings(secret_file=str(secret))
    assert OwnTokens(ClientSettings(), TokensSettings()).source("u1", "watch") is None
    assert OwnTokens(ClientSettings(), TokensSettings()).sign("u1", "watch") is None
    assert OwnTokens(ClientSettings(token_file=str(token)), settings).sign("u1", "watch") == "a.b.c"
    signed_here = OwnTokens(ClientSettings(), settings).kept("u1", "relay")
    assert signed_here() == signed_here()
    claims = Gate(settings).check(signed_here(), "main", "relay")
    assert claims is not None
    assert claims.may == {"relay"}
