"""Finds the programs of Prometheus: those on PATH, else those that the set-up unpacked into build/prometheus.

Standard library only, because the set-up uses it.
"""

import os
import shutil
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream_lab.machine import jars

FOLDER = jars.REPOSITORY / "build" / "prometheus"
_PROGRAMS = ("prometheus", "promtool")


def is_there() -> bool:
    """Return whether both programs are on this machine."""
    return all(map(_find, _PROGRAMS))


def program(name: str) -> Path:
    """Return the path of `prometheus` or `promtool`. Raises EmoStreamError if it is missing."""
    if found := _find(name):
        return Path(found)
    raise EmoStreamError(f"{name} is missing: `make demo METRICS=1` and `make lint` fetch it.")


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), str(FOLDER / "usr" / "bin")]))
