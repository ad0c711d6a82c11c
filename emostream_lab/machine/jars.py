"""Downloads the jars of Kafka, ZooKeeper, Spark's connector and monitoring with Maven, and checks their checksums.

`python3 -m emostream_lab.machine.jars` fills a folder of build/jars for each of SETS, and does nothing if they are
complete. Standard library only, because the set-up runs it before anything is installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from emostream.errors import EmoStreamError
from emostream_lab.machine import java

REPOSITORY = Path(__file__).resolve().parents[2]
COORDINATES = REPOSITORY / "requirements" / "jars"
JARS = REPOSITORY / "build" / "jars"
# The port of a proxy whose address has none. curl uses the same default.
_PROXY_PORT = 1080
SERVERS = ("zookeeper", "kafka", "spark")
# `monitoring` is what lets Kafka and ZooKeeper tell their metrics to Prometheus.
SETS = (*SERVERS, "monitoring")
# This file is written after all checksums matched, and holds the checksum of SHA256SUMS. With it, later starts need not
# read 80 MB again.
_MARKER = ".verified"


def fetch_all() -> None:
    """Download the incomplete sets and print a line for each. Raises EmoStreamError if a set stays incomplete."""
    for name in incomplete_sets():
        if missing_or_wrong(name):
            print(f"jars: fetching {name} through Maven ...", flush=True)
            _fetch(name)
        if wrong := missing_or_wrong(name):
            raise EmoStreamError(
                f"{JARS / name}: {', '.join(wrong)} missing, or not as {COORDINATES / name / 'SHA256SUMS'} says. "
                "Delete the folder and try again; if that does not help, the server does not have the pinned file."
            )
        (JARS / name / _MARKER).write_text(_sha256(COORDINATES / name / "SHA256SUMS") or "", encoding="utf-8")
        print(f"jars: {name} is complete", flush=True)


def incomplete_sets() -> list[str]:
    """Return the sets that were not verified against the current checksums, or that lack a file."""
    return [name for name in SETS if not _was_verified(name)]


def missing_or_wrong(name: str) -> list[str]:
    """Return the file names of a set that are missing or have another sha256 than the committed one."""
    return [file for file, sha256 in _pinned(name).items() if _sha256(JARS / name / file) != sha256]


def _was_verified(name: str) -> bool:
    marker = JARS / name / _MARKER
    if not marker.exists() or marker.read_text(encoding="utf-8") != _sha256(COORDINATES / name / "SHA256SUMS"):
        return False
    return all((JARS / name / file).exists() for file in _pinned(name))


def _pinned(name: str) -> dict[str, str]:
    lines = (COORDINATES / name / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {file: sha256 for sha256, file in (line.split() for line in lines)}


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _fetch(name: str) -> None:
    target = JARS / name
    shutil.rmtree(target, ignore_errors=True)
    maven = shutil.which("mvn")
    if maven is None:
        raise EmoStreamError("Maven is missing: install it (Debian, Ubuntu: `apt-get install maven`) and try again.")
    command = [maven, "--quiet", "--batch-mode", "--file", str(COORDINATES / name / "pom.xml")]
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    if subprocess.run([*command, *goal], check=False, env=maven_environment(os.environ)).returncode != 0:
        raise EmoStreamError(
            f"Maven could not fetch the jars of {name}: is there a network, and free disk space? Maven goes through "
            "the proxy of https_proxy, or of ~/.m2/settings.xml where that has one."
        )


def maven_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Maven, with https_proxy and no_proxy as Java properties, as Maven reads only these.

    Raises EmoStreamError if no suitable Java is found.
    """
    options = [environment.get("MAVEN_OPTS", "")]
    if proxy := environment.get("https_proxy") or environment.get("HTTPS_PROXY"):
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        options += [f"-Dhttps.proxyHost={address.hostname}", f"-Dhttps.proxyPort={address.port or _PROXY_PORT}"]
        if address.username:
            options += [f"-Dhttps.proxyUser={unquote(address.username)}"]
            options += [f"-Dhttps.proxyPassword={unquote(address.password or '')}"]
        direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        hosts = [f"*{host}" if host.startswith(".") else host for host in direct.replace(" ", "").split(",") if host]
        # This property applies to http and https.
        options += [f"-Dhttp.nonProxyHosts={'|'.join(hosts)}"] if hosts else []
        # Maven 3.9 and later ignore these properties without this option.
        options += ["-Daether.connector.http.useSystemProperties=true"]
    return {**environment, "JAVA_HOME": str(java.java_home()), "MAVEN_OPTS": " ".join(options).strip()}


def main() -> None:
    try:
        fetch_all()
    except EmoStreamError as error:
        sys.exit(f"jars: {error}")


if __name__ == "__main__":
    main()
