"""Which Java runs Kafka, ZooKeeper and Spark here. Standard library only: the set-up asks too."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from emostream.errors import EmoStreamError

# Spark 4.2, Kafka 3.9 and ZooKeeper 3.9 run on each of them.
SUPPORTED = (17, 21, 25)


@functools.cache
def java_home() -> Path:
    """The home of the first Java that fits: JAVA_HOME's, the PATH's, then those of /usr/lib/jvm.

    Raises EmoStreamError where none does.
    """
    seen = []
    for home in _candidates():
        version = major_version(home)
        if version in SUPPORTED:
            return home
        seen.append(f"{home} is {version or 'no Java'}")
    raise EmoStreamError(
        "Java 17, 21 or 25 is missing"
        + (f" ({', '.join(seen)})" if seen else "")
        + ": run `make demo`, which installs it on Debian and Ubuntu, or set JAVA_HOME to one."
    )


def major_version(home: Path) -> int | None:
    """17 for a Java 17, or None where there is no Java that starts."""
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
    # Debian's packages put each version there, whichever of them the PATH names.
    yield from sorted(path for path in Path("/usr/lib/jvm").glob("*") if not path.is_symlink())
