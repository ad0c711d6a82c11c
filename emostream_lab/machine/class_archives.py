"""Archives of the classes that Kafka, ZooKeeper and Spark load. With them, the JVMs start with half of the work.

`emostream_lab.machine.archive_classes` writes one for each set of jars. A JVM ignores an archive that does not fit its
version or its jars, so one that is missing or too old costs nothing but time. Standard library only, because the
set-up uses it. See "Class Data Sharing" in the manual of the JDK.
"""

import hashlib
import subprocess
from pathlib import Path

from emostream_lab.machine import jars, java

ARCHIVES = jars.REPOSITORY / "build" / "class-archives"
# By default, a JVM prints a warning about an archive that does not fit.
SILENT = "-Xlog:cds*=off"
# This file is written last. It holds a hash of what the archives were made from.
_MARKER = ARCHIVES / ".complete"


def path(name: str) -> Path:
    """Return the archive of a set of jars. The file exists once it was written."""
    return ARCHIVES / f"{name}.jsa"


def java_options(name: str) -> list[str]:
    """Return the options with which a JVM uses the archive of a set of jars; none if there is no archive."""
    archive = path(name)
    return [f"-XX:SharedArchiveFile={archive}", SILENT] if archive.exists() else []


def are_complete() -> bool:
    """Return whether the archives were made by the current Java, from the current jars, at this path.

    Raises EmoStreamError if there is no Java.
    """
    return _MARKER.exists() and _MARKER.read_text(encoding="utf-8") == _fingerprint()


def mark_complete() -> None:
    """Note that all archives are written."""
    _MARKER.write_text(_fingerprint(), encoding="utf-8")


def _fingerprint() -> str:
    version = subprocess.run([java.java_home() / "bin" / "java", "-version"], capture_output=True, check=True).stderr
    pinned = [jars.COORDINATES / name / "SHA256SUMS" for name in jars.SERVERS]
    pinned.append(jars.REPOSITORY / "requirements" / "spark.txt")
    content = b"".join(path.read_bytes() for path in pinned)
    return hashlib.sha256(version + content + str(jars.REPOSITORY).encode()).hexdigest()
