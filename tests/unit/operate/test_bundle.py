"""A support bundle holds what was found and no secret, wherever it stands."""

import asyncio
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from emostream.config import ClientSettings
from emostream.operate import bundle
from tests.unit.tokens.signing import signed

ROOT = Path(__file__).parents[3]
TOKEN = signed()
PASSWORD = "correct-horse-battery"  # noqa: S105
SPARK = "k3Jd92mXq0PvT7sLw5Zb"
KEY = "MC4CAQAwBQYDK2VwBCIEIJ8xKq1"
SECRETS = (TOKEN, PASSWORD, SPARK, KEY)

PLANTED = [
    f"EMOSTREAM_CLIENT_PASSWORD={PASSWORD}",
    f'password: "{PASSWORD}"',
    f'{{"event": "refused", "token": "{PASSWORD}"}}',
    f'{{"event": "a \\"secret\\": \\"{PASSWORD}\\" in JSON"}}',
    f"GET /v1/stream?heartbeats=1&access_token={PASSWORD}&x=1",
    f"https://operator:{PASSWORD}@alerts.example.com/hook",
    f"Authorization: Bearer {TOKEN}",
    f"Authorization: Basic {PASSWORD}",
    f"a line that ends with {TOKEN}",
    f"spark.authenticate.secret {SPARK}",
    f"the worker said {SPARK}.",
    f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----",
    f'"-----BEGIN EC PRIVATE KEY-----\\n{KEY}\\n-----END EC PRIVATE KEY-----"',
    f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_secret_is_masked(text: str) -> None:
    found = bundle.masked(f"before it\n{text}", [SPARK])
    assert not [secret for secret in SECRETS if secret in found]
    assert found.startswith("before it\n")


@pytest.mark.parametrize(
    "text",
    [
        "EMOSTREAM_TOKENS_SECRET_FILE=/run/credentials/tokens",
        "EMOSTREAM_TOKENS_MAX_CACHED=20000",
        'emostream_http_requests_total{path="/v1/guests",status="200"} 3.0',
        '{"event": "serving", "url": "http://192.168.60.21:8000", "timestamp": "2026-11-28T02:28:09.187Z"}',
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert bundle.masked(text, [SPARK]) == text


def test_the_archive_holds_what_was_found_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secrets" / "certificates").mkdir(parents=True)
    (tmp_path / "secrets" / "spark").write_text(f"{SPARK}\n")
    (tmp_path / "secrets" / "short").write_text("a\n")
    (tmp_path / "secrets" / "certificates" / "operator.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "edge1.txt").write_text("\n".join(["haproxy.service active", *PLANTED]))
    (tmp_path / "hosts" / "edge2.txt").write_bytes(b"not \xff UTF-8")
    texts = bundle.texts_below(tmp_path / "hosts")
    archive = tmp_path / "support.tar.gz"
    bundle.pack(archive, texts, bundle.secrets_below(tmp_path / "secrets"))
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as packed:
        found = {entry.name: packed.extractfile(entry) for entry in packed.getmembers()}
        contents = {name: file.read().decode() for name, file in found.items() if file is not None}
    assert set(contents) == {"emostream-support/edge1.txt", "emostream-support/edge2.txt"}
    whole = "".join(contents.values())
    assert not [secret for secret in SECRETS if secret in whole]
    assert "haproxy.service active\n" in whole
    assert "not � UTF-8" in whole


def test_what_does_not_answer_is_named() -> None:
    settings = ClientSettings(registry_admin_url="http://127.0.0.1:1")
    found = asyncio.run(bundle.look(settings, ["cluster1"]))
    assert "the registry at http://127.0.0.1:1 does not answer" in found["status.txt"]
    assert found["version.txt"].strip()


def test_the_look_at_a_host_goes_on_where_a_command_fails(tmp_path: Path) -> None:
    for name in ("journalctl", "systemctl"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "ran {name} $@"\nexit 3\n')
        (tmp_path / name).chmod(0o755)
    script = (ROOT / "playbooks" / "files" / "support.sh").read_text()
    ran = subprocess.run(
        ["bash", "-c", script, "support.sh", "-1h", "kafka.service", "emostream-publisher@*.service"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    units = "kafka.service --unit=emostream-publisher@*.service"
    assert f"ran journalctl --no-pager --output short-iso-precise --since -1h --unit={units}\n(status 3)" in ran.stdout
    assert "ran systemctl status --no-pager --full --lines 0 kafka.service emostream-publisher@*.service" in ran.stdout
    assert "== settings" in ran.stdout
