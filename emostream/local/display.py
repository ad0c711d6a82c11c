"""What a person sees while something runs: sentences that stay, and below them one line that is rewritten."""

import shutil
import sys
import time

# With output that is not a terminal, as in CI, the live line is printed this often instead of being rewritten.
_PLAIN_INTERVAL_SECONDS = 5


class Display:
    """Writes to standard output, in the way that suits it."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._printed_at = 0.0

    def tell(self, sentence: str) -> None:
        """Say something that stays."""
        self._clear()
        print(sentence, flush=True)

    def live(self, line: str) -> None:
        """Replace the live line."""
        now = time.monotonic()
        if self._is_terminal:
            self._clear()
            print(line[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        elif now - self._printed_at >= _PLAIN_INTERVAL_SECONDS:
            self._printed_at = now
            print(line, flush=True)

    def _clear(self) -> None:
        if self._is_terminal:
            print(end="\r\033[K")
