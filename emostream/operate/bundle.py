"""`emostream support-bundle`: what somebody needs who helps from afar, in one archive without secrets."""

import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from emostream import model
from emostream.client import connection
from emostream.client.errors import NoAnswerError
from emostream.config import ClientSettings
from emostream.errors import EmoStreamError
from emostream.operate import status
from emostream.registry import live
from emostream.registry.live import LiveTopology, RegisteredProcess
from emostream.runtime import tls

_ANSWER_TIMEOUT_SECONDS = 5.0
_MASK = "(masked)"
# A shorter line of a file of secrets is too common to be masked wherever it stands.
_MIN_SECRET_CHARACTERS = 8
_PATTERNS = (
    # A private key, also one that is cut off.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _MASK),
    # A token (JWT).
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"), _MASK),
    (re.compile(r"\b(bearer|basic) [\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {_MASK}"),
    # The user and the password in a URL.
    (re.compile(r"://[^\s/@:]*:[^\s/@]+@"), f"://{_MASK}@"),
    # Whatever is called so, in settings, queries, JSON and YAML.
    (
        re.compile(
            r"((?:password|passwd|secret|token|private_?key|api_?key)\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'&,;\\]+",
            re.IGNORECASE,
        ),
        rf"\1{_MASK}",
    ),
)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without these secrets, and without what looks like a key, a token or a password."""
    for secret in secrets:
        text = text.replace(secret, _MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def secrets_below(folder: Path) -> list[str]:
    """Return the lines of all files below a folder, without those of certificates and their keys."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".pem"]
    lines = {line.strip() for file in files for line in file.read_text(errors="replace").splitlines()}
    # The longest first: one may begin with another.
    return sorted((line for line in lines if len(line) >= _MIN_SECRET_CHARACTERS), key=len, reverse=True)


def texts_below(folder: Path) -> dict[str, str]:
    """Return the files below a folder by their paths in it."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): file.read_text(errors="replace") for file in files}


def pack(archive: Path, texts: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
    """Write these texts, masked, into a tar.gz that only its owner may read."""
    secrets = list(secrets)
    archive.touch(0o600)
    with tarfile.open(archive, "w:gz") as packed:
        for path, text in texts.items():
            content = masked(text, secrets).encode()
            entry = tarfile.TarInfo(f"emostream-support/{path}")
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


async def look(settings: ClientSettings, clusters: Iterable[str]) -> dict[str, str]:
    """Ask the registry's admin listener, and all whom it knows, how they are. The texts name what does not answer."""
    found = {"version.txt": f"{metadata.version('emostream')}\n"}
    try:
        variable, context = settings.variable("registry_admin_url"), tls.client_context()
        view = await status.fetch(settings.registry_admin_url, variable, context)
        found["status.txt"] = "\n".join([status.table(view), "", *status.problems(view, list(clusters)), ""])
        url = f"{settings.registry_admin_url}/v1/topology/live"
        answer = await connection.fetch(url, _ANSWER_TIMEOUT_SECONDS, context)
        found["topology.json"] = answer.body.decode()
        processes = model.decode(answer.body, LiveTopology).processes
    except (EmoStreamError, NoAnswerError, msgspec.DecodeError) as error:
        return {**found, "status.txt": found.get("status.txt", "") + f"{error}\n"}
    return {**found, **dict(await live.of_each(processes, _metrics))}


async def _metrics(process: RegisteredProcess) -> tuple[str, str]:
    try:
        text = (await live.ask(process, "/metrics")).body.decode()
    except (NoAnswerError, ValueError) as error:
        text = f"{process.admin_url} does not answer: {error}\n"
    return "metrics/" + re.sub(r"[^\w.-]+", "_", f"{process.tier}-{process.name}") + ".txt", text
