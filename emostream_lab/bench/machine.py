"""Gives the measured server and its load separate cores, and measures what a process used of them."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from emostream.errors import EmoStreamError


@dataclass(frozen=True)
class Cores:
    """One core for the measured server, and the other cores for all that makes its load, including Kafka."""

    server: int
    load: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Return the cores of this machine. Raises EmoStreamError if there is only one."""
        first, *others = sorted(os.sched_getaffinity(0))
        if not others:
            raise EmoStreamError("a benchmark needs two cores: one for the server that it measures, one for the load.")
        return cls(first, frozenset(others))


@contextmanager
def load_on_its_own_cores() -> Iterator[Cores]:
    """Keep this process, and each that it starts in this block, off the server's core. See `pin`."""
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, cores.load)
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, {cores.server, *cores.load})


def pin(pid: int, core: int) -> None:
    """Keep a running process, its children and all their threads on one core."""
    for process in _tree(pid):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})


def allow_many_files() -> None:
    """Raise the limit of open files, which include sockets, to the most that this user may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used so far, in user and kernel mode."""
    times = [process.cpu_times() for process in _tree(pid)]
    return sum(each.user + each.system for each in times)


def rss_kib(pid: int) -> float:
    """Return the memory that a process and its children hold now."""
    return sum(process.memory_info().rss for process in _tree(pid)) / 1024


def description() -> str:
    """Return a description of the machine for the readers of the figures."""
    with open("/proc/cpuinfo") as file:
        models = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    model = ", ".join(sorted(models)) or "unknown processor"
    return f"{len(os.sched_getaffinity(0))} cores ({model}), Linux {os.uname().release}"


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
