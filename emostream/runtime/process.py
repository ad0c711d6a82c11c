"""A server's process: what ends it, how many files it may have open, and how often it collects garbage."""

import gc
import resource
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from emostream.errors import EmoStreamError
from emostream.runtime.background import in_background

T = TypeVar("T")

# Files besides clients' connections: the clients of Kafka and ZooKeeper, logs, libraries.
_OTHER_FILES = 64
_POLL_SECONDS = 0.05


class StoppedError(Exception):
    """The process was told to stop while it searched for a server."""


class StopSignals(threading.Event):
    """Is set by SIGTERM and SIGINT. Make it in the main thread."""

    def __init__(self) -> None:
        super().__init__()
        for number in (signal.SIGTERM, signal.SIGINT):
            # In another thread, because a signal may interrupt wait() while it holds the lock that set() needs.
            signal.signal(number, lambda *_: threading.Thread(target=self.set).start())

    def unless_set(self, search: Callable[[], T]) -> T:
        """Return what `search` returns, which may wait for a server for long. It runs in a daemon thread.

        Raises StoppedError as soon as the process is told to stop. The search goes on then, so the process must end.
        Raises what the search raises.
        """
        if self.is_set():
            raise StoppedError
        found = in_background("search", search)
        while not found.done():
            if self.wait(_POLL_SECONDS):
                raise StoppedError
        return found.result()


def raise_file_limit(variable: str = "", connections: int = 0, more: int = 0) -> None:
    """Allow as many open files as the hard limit does; the soft one is 1,024 on most systems.

    `variable` is the setting that is `connections`, and `more` the connections that come on top of it. Raises
    EmoStreamError where the hard limit is too low for them.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = connections + more + _OTHER_FILES
    if variable and hard != resource.RLIM_INFINITY and needed > hard:
        remedy = f"lower it to {hard - needed + connections}, or " if hard > more + _OTHER_FILES else ""
        raise EmoStreamError(
            f"{variable}={connections} needs {needed} open files, but {hard} are allowed: {remedy}raise LimitNOFILE of "
            "the unit (`ulimit -Hn` in a shell)."
        )


def collect_garbage_rarely() -> None:
    """Leave what exists now out of garbage collections, and make them rare.

    Call it once all is set up, in a process whose requests leave few reference cycles or none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
