"""Decides which events take reactions, and confirms that a closed one takes no more. Pure: no input or output."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from emostream.events.steps import Seen
from emostream.events.table import Definition, Table
from emostream.model import MAX_EVENT_CHARACTERS, is_event_id


class Refusal(NamedTuple):
    """The answer to a request for an event that takes no reactions now."""

    status: HTTPStatus
    detail: str


@dataclass
class Events:
    """The events as this ingest sees them.

    `table` is the last one that was read. `is_current` is whether ZooKeeper still tells of each change. `is_registered`
    is whether the table was read after this ingest was registered: before that, the aggregator does not wait for this
    ingest when an event closes, so the ingest takes no reactions to events.
    """

    table: Table = field(default_factory=dict)
    is_current: bool = False
    is_registered: bool = False
    revision: int = 0
    """Of the table."""

    def follow(self, seen: Seen) -> None:
        """Take what a follower saw that was started after this ingest was registered."""
        self.table, self.revision, self.is_current = seen.view.table, seen.revision, seen.is_current
        self.is_registered = True

    def find(self, event: str) -> Definition | Refusal:
        """Return the definition of an event that takes reactions, or the refusal.

        Without ZooKeeper, the events that were open stay open, and no well-formed id is said to be unknown.
        """
        if not is_event_id(event):
            return Refusal(HTTPStatus.NOT_FOUND, f"{event[: MAX_EVENT_CHARACTERS + 1]!r} is no id of an event.")
        known = self.table.get(event)
        if known is None and self.is_current and self.is_registered:
            return Refusal(HTTPStatus.NOT_FOUND, f"There is no event {event}.")
        if known is None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"It is not known now whether there is an event {event}.")
        if known.state not in {"opening", "open"}:
            return Refusal(HTTPStatus.GONE, f"The event {event} is closed.")
        # The aggregator counts an event only after the record that opens it.
        if known.state == "opening" or not self.is_registered:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"The event {event} is being opened.")
        return known

    def confirmed(self, is_in_flight: Callable[[str], bool]) -> dict[str, str]:
        """Return the closing events of which nothing is in flight, each with its stream.

        Nothing more comes of them from this ingest, because `find` refuses them from now on.
        """
        return {
            event: definition.stream
            for event, definition in self.table.items()
            if definition.state == "closing" and not is_in_flight(event)
        }
