"""A server's process: what ends it, how many files it may have open, and how often it collects garbage."""

import contextlib
import gc
import resource
import signal
import threading
from collections.abc import Iterator

from emostream.errors import EmoStreamError

# Files besides clients' connections: the clients of Kafka and ZooKeeper, logs, libraries.
_OTHER_FILES = 64


class StoppedError(BaseException):
    """The process was told to stop while it searched. Only the one that began the search catches it."""


class StopSignals(threading.Event):
    """Is set by SIGTERM and SIGINT. Make it in the main thread."""

    def __init__(self) -> None:
        super().__init__()
        self._is_searching = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())

    def _stop(self) -> None:
        self.set()
        if self._is_searching:
            self._is_searching = False
            raise StoppedError

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """End this block as soon as the process is told to stop, by StoppedError: it may wait for a server for long.

        What the block had begun is left as it is, so the process must end then.
        """
        self._is_searching = True
        try:
            if self.is_set():
                raise StoppedError
            yield
        finally:
            self._is_searching = False


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
