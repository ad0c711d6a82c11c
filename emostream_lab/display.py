"""Shows progress in the terminal: sentences that stay, and below them a live line that is rewritten."""

import shutil
import time
from collections.abc import Callable

from emostream.runtime import output

# If the output is not a terminal, as in CI, the live line is printed at this interval instead of being rewritten.
_PLAIN_INTERVAL_SECONDS = 5


class Display:
    """Writes to standard output: a terminal, a file or a pipe.

    When the reader closes the pipe, as `head` does, `on_reader_gone` is called once and no method raises.
    """

    def __init__(self, on_reader_gone: Callable[[], object] = lambda: None) -> None:
        self._on_reader_gone = on_reader_gone
        self._can_rewrite = output.can_rewrite()
        self._printed_at = 0.0

    def tell(self, sentence: str) -> None:
        """Print a sentence that stays."""
        self._write(f"{self._clear}{sentence}\n")

    def live(self, line: str) -> None:
        """Replace the live line."""
        now = time.monotonic()
        if self._can_rewrite:
            self._write(f"{self._clear}{line[: shutil.get_terminal_size().columns - 1]}")
        elif now - self._printed_at >= _PLAIN_INTERVAL_SECONDS:
            self._printed_at = now
            self._write(f"{line}\n")

    @property
    def _clear(self) -> str:
        return "\r\033[K" if self._can_rewrite else ""

    def _write(self, text: str) -> None:
        try:
            print(text, end="", flush=True)
        except BrokenPipeError:
            output.discard()
            self._on_reader_gone()
