"""Standard output that ends no command with a traceback, whatever its encoding and whoever reads it.

Standard library only: the set-up uses it before anything is installed.
"""

import io
import os
import sys


def tolerate_encoding() -> None:
    """From now on, print a question mark for each character that the encoding of the output lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def can_rewrite() -> bool:
    """Whether standard output is a terminal that understands escape codes, so that a line can be replaced."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def discard() -> None:
    """Send what is printed from now on to nobody: for a command that goes on although its reader is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
