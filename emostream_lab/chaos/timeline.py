"""What happened when, told as it happens."""

import time
from collections.abc import Callable


class Timeline:
    """Its clock starts when it is made, or restarted."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self.entries: list[str] = []

    def restart(self) -> None:
        """It is 0 s now."""
        self._began = time.monotonic()

    def seconds(self) -> float:
        """The time on its clock."""
        return self.at(time.monotonic())

    def at(self, monotonic_seconds: float) -> float:
        """What its clock showed at a time of the machine's monotonic clock."""
        return monotonic_seconds - self._began

    def note(self, what: str) -> None:
        """Something happened now."""
        self.entries.append(f"{self.seconds():7.1f} s  {what}")
        self._tell(self.entries[-1])
