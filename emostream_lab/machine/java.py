"""Finds the Java that runs Kafka, ZooKeeper and Spark. Standard library only, because the set-up uses it too."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from emostream.errors import EmoStreamError

# Spark 4.2, Kafka 3.9 and ZooKeeper 3.9 run on each of these versions.
SUPPORTED = (17, 21, 25)


@functools.cache
def java_home() -> Path:
    """Return the home of the first supported Java: in JAVA_HOME, then on PATH, then in /usr/lib/jvm.

    Raises EmoStreamError if there is none.
    """
    seen = []
    for home in _candidates():
        version = major_version(home)
        if version in SUPPORTED:
            return home
        seen.append(f"{home} is {version or 'not Java'}")
    raise EmoStreamError(
        "Java 17, 21 or 25 is missing"
        + (f" ({', '.join(seen)})" if seen else "")
        + ": run `make demo`, which installs it on Debian and Ubuntu, or set JAVA_HOME to one."
    )


def major_version(home: Path) -> int | None:
    """Return the major version, such as 17, or None if no Java starts there."""
    try:
        answer = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else None


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parents[1]
    # Debian's packages install every version there. PATH has only one of them.
    yield from sorted(path for path in Path("/usr/lib/jvm").glob("*") if not path.is_symlink())
