"""Records the events of a run with their times, and prints each one as it happens."""

import time
from collections.abc import Callable


class Timeline:
    """A list of events and a clock, which starts at 0 s on creation and on `restart`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self.entries: list[str] = []

    def restart(self) -> None:
        """Set the clock to 0 s."""
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Return the time on the clock, in seconds."""
        return self.at(time.monotonic())

    def at(self, monotonic_seconds: float) -> float:
        """Convert a time of the monotonic clock of the machine to a time on this clock."""
        return monotonic_seconds - self._began

    def note(self, what: str) -> None:
        """Record an event with the current time, and print it."""
        self.entries.append(f"{self.seconds():7.1f} s  {what}")
        self._tell(self.entries[-1])
