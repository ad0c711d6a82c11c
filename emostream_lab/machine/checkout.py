"""What about this checkout and its user would end in a failure of Java or of a write, told before it does.

Standard library only: the set-up asks before anything is installed.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from emostream.errors import EmoStreamError

# They separate paths from one another, or from what follows a path, in what Java and Spark read.
_SEPARATORS = ':,#"\\\n'


def check(repository: Path, written: Iterable[Path]) -> None:
    """Raises EmoStreamError, with what to do, where nothing could run here; `written` is what a run writes to."""
    check_name(repository)
    check_user()
    check_writable(written)


def check_name(repository: Path) -> None:
    """Raises EmoStreamError where the path of the checkout holds a character that Java or Spark cannot have there."""
    # Java encodes the two halves of a character beyond U+FFFF apart, and then finds no jar (seen with 17 and 21).
    refused = [character for character in str(repository) if character in _SEPARATORS or ord(character) > 0xFFFF]
    if refused:
        raise EmoStreamError(
            f"Java and Spark cannot run in a folder whose path holds {refused[0]!a}: move the checkout "
            f"from {repository} to another one."
        )


def check_user() -> None:
    """Raises EmoStreamError where this user has no name."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmoStreamError(
            f"user id {os.geteuid()} has no entry in /etc/passwd, without which Spark does not start: add one, or "
            "start as another user."
        ) from None


def check_writable(written: Iterable[Path]) -> None:
    """Raises EmoStreamError where one of these files and folders exists and belongs to somebody else."""
    foreign = [path for path in written if path.exists() and not os.access(path, os.W_OK)]
    if foreign:
        names = " ".join(map(str, foreign))
        raise EmoStreamError(
            f"{names} cannot be written by this user, as after a start with sudo: run "
            f"`sudo chown -R {os.geteuid()}:{os.getegid()} {names}` and start again."
        )
