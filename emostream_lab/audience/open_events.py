"""Decides to which events people react now. Pure."""

from collections.abc import Callable, Sequence


class OpenEvents:
    """The events that take reactions, as far as their senders know. The first one is `main`, which always does.

    A client that is refused stops sending, as the event may be closing. The log tells it when the event is open.
    """

    def __init__(self, events: Sequence[str]) -> None:
        self._events = events
        self.open: list[str] = []

    def follow(self, is_open: Callable[[str], bool]) -> None:
        """Take what the newest record of the log shows."""
        self.open = [event for event in self._events if is_open(event)]

    def refused(self, event: str) -> None:
        """Note that a request was refused: nothing more is sent to its event until the next record."""
        if event in self.open and event != self._events[0]:
            self.open.remove(event)
