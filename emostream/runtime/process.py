"""Settings of a server's process: how many files it may have open, and how often it collects garbage."""

import gc
import resource

from emostream.errors import EmoStreamError

# Files besides clients' connections: the clients of Kafka and ZooKeeper, logs, libraries.
_OTHER_FILES = 64


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
