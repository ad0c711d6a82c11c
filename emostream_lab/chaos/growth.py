"""Detects processes and Spark checkpoints that grow without bound, from the highest values seen in a run."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from emostream_lab.processes.topology import Part


class Held(msgspec.Struct, frozen=True):
    """Resources that a process and all its children hold."""

    rss_mib: int
    files: int
    threads: int

    def most(self, other: "Held") -> "Held":
        """The greater value of each field."""
        return Held(*map(max, msgspec.structs.astuple(self), msgspec.structs.astuple(other)))


# About twice what each process holds in normal operation. A leak exceeds this in a long run; a heap that merely fills
# up does not.
_PYTHON = Held(rss_mib=300, files=400, threads=100)
_DAEMON = Held(rss_mib=500, files=600, threads=200)
LIMITS = {
    "zookeeper": _DAEMON,
    "kafka": Held(rss_mib=1_200, files=1_200, threads=250),
    "spark-master": _DAEMON,
    # Includes two executors, which are children of the worker.
    "spark-worker": Held(rss_mib=2_200, files=1_500, threads=500),
    # Includes the JVM of the driver.
    "aggregator": Held(rss_mib=1_500, files=1_000, threads=300),
}
CHECKPOINT_LIMIT_BYTES = 16 << 20


class Growth:
    """Samples the processes of a topology and keeps the highest values."""

    def __init__(self, parts: Sequence[Part], directory: Path) -> None:
        self._parts = [part for part in parts if not part.runs_once]
        self._directory = directory
        self.most: dict[str, Held] = {}
        """The highest values so far, by name of the process."""
        self.checkpoint_bytes = 0

    def look(self) -> None:
        """Take one sample of all running processes and of the checkpoint."""
        for part in self._parts:
            if part.process.is_running():
                held = _held(part.process.pid)
                self.most[part.name] = held.most(self.most.get(part.name, held))
        self.checkpoint_bytes = max(self.checkpoint_bytes, _size_bytes(self._directory))

    def problems(self) -> list[str]:
        """Return a sentence for each process, and for the checkpoint, that exceeded its limit."""
        found = []
        for part in self._parts:
            held, limit = self.most.get(part.name), limit_of(part)
            if held is not None and held.most(limit) != limit:
                found.append(f"{part.name} held {held}, and may hold {limit}")
        if self.checkpoint_bytes > CHECKPOINT_LIMIT_BYTES:
            found.append(
                f"Spark's checkpoint held {self.checkpoint_bytes} bytes, and may hold {CHECKPOINT_LIMIT_BYTES}"
            )
        return found


def limit_of(part: Part) -> Held:
    """Return the limits of a process."""
    return LIMITS.get(part.name) or LIMITS.get(part.tier) or _PYTHON


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants, or an empty list if it has ended. Any of them may end at any time."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _held(pid: int) -> Held:
    rss_bytes = files = threads = 0
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            rss_bytes += process.memory_info().rss
            files += process.num_fds()
            threads += process.num_threads()
    return Held(rss_bytes >> 20, files, threads)


def _size_bytes(directory: Path) -> int:
    total = 0
    for file in directory.glob("aggregator*/checkpoints/**/*"):
        # Spark may delete a file between the listing and this call.
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total
