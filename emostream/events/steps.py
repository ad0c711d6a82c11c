"""Decides what the aggregator does next about the events. Pure: no input or output.

The aggregator brings the record and the table together in two steps. It writes a record that follows the table
(`due`). Then it tells in the table what that record shows (`settled`): an opening event is open, a closing one closed.
It tells this only after a record that it wrote since it read the table. An aggregator that was replaced cannot write
such a record, so it never tells what is no longer so.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from emostream.events.table import Definition, Table
from emostream.model import EventPart, new_stream_id
from emostream.swarms.rules import Changes

Parts = Mapping[str, EventPart]
"""The events in the last record."""


class View(NamedTuple):
    """The table as it was read, and its version in ZooKeeper."""

    table: Table
    version: int


class Seen(NamedTuple):
    """The table as it was read last.

    `revision` grows with each change, and every process tells in its registration which one it follows. `is_current`
    is whether ZooKeeper still tells of each change.
    """

    view: View
    revision: int
    is_current: bool


class LeaderSteps:
    """The aggregator's side of the protocol, during one term as leader.

    For each closing event it takes the ends of `reactions` once all ingests have confirmed the close. When the last
    record has reached them, the event is complete, and the next record ends it.
    """

    def __init__(self) -> None:
        # By event and stream. As many as there are closing events.
        self._ends: dict[tuple[str, str], Mapping[int, int]] = {}
        self._proven: int | None = None

    def unconfirmed(self, view: View, parts: Parts) -> dict[str, str]:
        """Return the closing events that wait for the ingests' confirmation, each with its stream."""
        waiting = closing(view.table, parts)
        self._ends = {key: ends for key, ends in self._ends.items() if waiting.get(key[0]) == key[1]}
        return {event: stream for event, stream in waiting.items() if (event, stream) not in self._ends}

    def confirm(
        self, unconfirmed: Mapping[str, str], confirmations: Iterable[Mapping[str, str]]
    ) -> list[tuple[str, str]]:
        """Return those that every registered ingest has confirmed."""
        seen = list(confirmations)
        return [each for each in unconfirmed.items() if all(each in one.items() for one in seen)]

    def take_ends(self, confirmed: Iterable[tuple[str, str]], ends: Mapping[int, int]) -> None:
        """Note the ends of `reactions`, by partition, that were read after the confirmation."""
        self._ends.update(dict.fromkeys(confirmed, ends))

    def changes(self, view: View, parts: Parts, offsets: Mapping[str, int], now_ms: int) -> Changes | None:
        """Return what to write into the next record, or None if no record is needed. `offsets` are counted up to."""
        complete = {
            event
            for (event, _), ends in self._ends.items()
            if all(offsets.get(str(partition), 0) >= end for partition, end in ends.items())
        }
        changes = due(view.table, parts, complete, now_ms)
        needs_proof = self._proven != view.version and settled(view.table, parts, now_ms) != view.table
        return changes if changes or needs_proof else None

    def wrote(self, view: View) -> None:
        """Note that a record was written after this view was read."""
        self._proven = view.version

    def table_to_tell(self, view: View, parts: Parts, now_ms: int) -> Table | None:
        """Return the table to put in place of this view, or None if there is nothing to tell, or no right to tell."""
        table = settled(view.table, parts, now_ms)
        return table if table != view.table and self._proven == view.version else None


def due(table: Table, parts: Parts, complete: Collection[str], now_ms: int) -> Changes:
    """Return what the next record must change. `complete` are the events of which nothing more can come."""
    opening, ended, archived = {}, set(), set()
    for event, definition in table.items():
        if definition.state == "archiving":
            archived.update({event} & parts.keys())
        elif not _is_of(definition, parts.get(event)):
            # Also if the record was lost in Kafka: then the event goes on in a new stream.
            opening[event] = new_stream_id(now_ms, definition.stream)
        elif not parts[event].ended and (definition.state == "closed" or event in complete):
            ended.add(event)
    return Changes(opening, frozenset(ended), frozenset(archived))


def closing(table: Table, parts: Parts) -> dict[str, str]:
    """Return the events that are closing and have no end yet, each with the stream that ingest must confirm."""
    return {
        event: definition.stream
        for event, definition in table.items()
        if definition.state == "closing" and _is_of(definition, parts.get(event)) and not parts[event].ended
    }


def settled(table: Table, parts: Parts, now_ms: int) -> Table:
    """Return the table with the states that the record shows."""
    found = {}
    for event, definition in table.items():
        part = parts.get(event)
        if definition.state == "archiving" and part is None:
            continue
        found[event] = _settled(definition, part, now_ms)
    return found


def _settled(definition: Definition, part: EventPart | None, now_ms: int) -> Definition:
    if definition.state == "archiving" or part is None or not _is_of(definition, part):
        return definition
    if definition.state == "closing" and part.ended:
        return msgspec.structs.replace(definition, state="closed", stream=part.stream, ended_ms=now_ms)
    state = "open" if definition.state == "opening" else definition.state
    return msgspec.structs.replace(definition, state=state, stream=part.stream)


def parts_to_restore(table: Table, parts: Parts, stream: str) -> dict[str, EventPart]:
    """Return the parts with which a restored system goes on: with the totals of `parts`, in a new stream of each event.

    A viewer may know messages of the old streams that came after the backup. An event that was opened again since then
    has none: the aggregator opens it.
    """
    return {
        # The end has a sequence of its own.
        event: EventPart(stream, int(part.ended), part.totals, ended=part.ended)
        for event, part in parts.items()
        if event not in table or _is_of(table[event], part)
    }


def _is_of(definition: Definition, part: EventPart | None) -> bool:
    """Return whether the part is of this opening of the event."""
    return part is not None and part.stream >= definition.stream
