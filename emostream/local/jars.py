"""Fetches the jars of Kafka, ZooKeeper and Spark's connector through Maven and checks them against committed sums.

`python3 -m emostream.local.jars` makes `build/jars/{kafka,zookeeper,spark}`, and does nothing where they are whole.
Standard library only: the set-up runs it before anything is installed.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from emostream.errors import EmoStreamError

REPOSITORY = Path(__file__).resolve().parents[2]
COORDINATES = REPOSITORY / "requirements" / "jars"
JARS = REPOSITORY / "build" / "jars"
SETS = ("zookeeper", "kafka", "spark")
# Written last, when every sum was right, with the sum of the sums: later starts need not read 80 MB again.
_MARKER = ".verified"


def fetch_all() -> None:
    """Make every set complete; prints one line a set. Raises EmoStreamError where a set cannot be had whole."""
    for name in incomplete_sets():
        if missing_or_wrong(name):
            print(f"jars: fetching {name} through Maven ...", flush=True)
            _fetch(name)
        if wrong := missing_or_wrong(name):
            raise EmoStreamError(
                f"{JARS / name}: {', '.join(wrong)} missing, or not as {COORDINATES / name / 'SHA256SUMS'} says. "
                "Delete the folder and try again; if it stays so, another file is served than the project pinned."
            )
        (JARS / name / _MARKER).write_text(_sha256(COORDINATES / name / "SHA256SUMS") or "")
        print(f"jars: {name} is complete", flush=True)


def incomplete_sets() -> list[str]:
    """The sets that were never verified as they are pinned now, or that lost a file since."""
    return [name for name in SETS if not _was_verified(name)]


def missing_or_wrong(name: str) -> list[str]:
    """File names of a set that are absent or whose sha256 is not the committed one."""
    return [file for file, sha256 in _pinned(name).items() if _sha256(JARS / name / file) != sha256]


def _was_verified(name: str) -> bool:
    marker = JARS / name / _MARKER
    if not marker.exists() or marker.read_text() != _sha256(COORDINATES / name / "SHA256SUMS"):
        return False
    return all((JARS / name / file).exists() for file in _pinned(name))


def _pinned(name: str) -> dict[str, str]:
    lines = (COORDINATES / name / "SHA256SUMS").read_text().splitlines()
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
    if subprocess.run([*command, *goal], check=False).returncode != 0:
        raise EmoStreamError(f"Maven could not fetch the jars of {name}: is the network there, and room on the disk?")


def main() -> None:
    try:
        fetch_all()
    except EmoStreamError as error:
        sys.exit(f"jars: {error}")


if __name__ == "__main__":
    main()
