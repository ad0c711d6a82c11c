"""Checks the path and the owner of this checkout, and the user, before Java or a write fails because of them.

Standard library only, because the set-up calls it before anything is installed.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from emostream.errors import EmoStreamError

# Java and Spark use these characters to separate paths, or to end a path.
_SEPARATORS = ':,#"\\\n'


def check(repository: Path, written: Iterable[Path]) -> None:
    """Run all checks. `written` lists the paths that a run writes to.

    Raises EmoStreamError with what the user can do.
    """
    check_name(repository)
    check_user()
    check_writable(written)


def check_name(repository: Path) -> None:
    """Check the path of the checkout. Raises EmoStreamError if Java or Spark cannot handle a character in it."""
    # Java encodes the two halves of a character above U+FFFF separately, and then finds no jar (seen with 17 and 21).
    refused = [character for character in str(repository) if character in _SEPARATORS or ord(character) > 0xFFFF]
    if refused:
        raise EmoStreamError(
            f"Java and Spark cannot run in a folder whose path holds {refused[0]!a}: move the checkout "
            f"from {repository} to another one."
        )


def check_user() -> None:
    """Check the current user. Raises EmoStreamError if the user id has no name."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmoStreamError(
            f"user id {os.geteuid()} has no entry in /etc/passwd, without which Spark does not start: add one, or "
            "start as another user."
        ) from None


def check_writable(written: Iterable[Path]) -> None:
    """Check that existing paths are writable. Raises EmoStreamError if this user may not write to one of them."""
    foreign = [path for path in written if path.exists() and not os.access(path, os.W_OK)]
    if foreign:
        names = " ".join(map(str, foreign))
        raise EmoStreamError(
            f"{names} cannot be written by this user, perhaps after a start with sudo: run "
            f"`sudo chown -R {os.geteuid()}:{os.getegid()} {names}` and start again."
        )
