"""The table of events: the definition of each one, and what an operator may change. Pure: no input or output.

`main` is not in the table. It always exists and is always open.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from emostream import model
from emostream.errors import EmoStreamError
from emostream.model import MAIN, MAX_EVENT_CHARACTERS, new_stream_id

MAX_TITLE_CHARACTERS = 100
MAX_PALETTE = 64
# ZooKeeper takes 1 MiB for a node, and a little more than the table is in each message.
MAX_TABLE_BYTES = 1_000_000

# What a record has besides the events, however many emoji are sent to `main`.
MAIN_BYTES = 512 << 10
# A part without its emoji: names, braces, the stream, and the largest sequence.
_PART_BYTES = 150
_COUNT_DIGITS = 12

State = Literal["opening", "open", "closing", "closed", "archiving"]
"""The aggregator turns `opening` into `open` and `closing` into `closed`, and takes an archived event out."""


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event, as it stands in ZooKeeper.

    `palette` holds the allowed emoji, fully qualified, in the order of the buttons. `stream` sorts after the streams of
    all earlier openings; a part of a record belongs to this opening if its stream is not before this one. `ended_ms` is
    the time of the end, in milliseconds since the epoch.
    """

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE_CHARACTERS)]
    palette: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_PALETTE)]
    state: State
    stream: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{11,16}\Z")]
    listed: bool = True
    ended_ms: int | None = None


Table = Mapping[str, Definition]


def encode(table: Table, before: bytes = b"") -> bytes:
    """Encode the table as JSON, in the order of names, with the entries of `before` that cannot be read."""
    readable, _ = decode(before)
    unreadable = {event: raw for event, raw in _entries(before).items() if event not in readable}
    return model.encode(dict(sorted({**unreadable, **table}.items())))


def decode(content: bytes) -> tuple[dict[str, Definition], list[str]]:
    """Decode a table. Returns the events that can be read, and a sentence about each one that cannot.

    Raises msgspec.DecodeError if the whole is no table.
    """
    found, problems = {}, []
    for event, raw in _entries(content).items():
        try:
            check_id(event)
            found[event] = model.decode(bytes(raw), Definition)
        except (EmoStreamError, msgspec.DecodeError) as error:
            problems.append(f"the event {event[:MAX_EVENT_CHARACTERS]!r} is defined by something else: {error}")
    return found, problems


def _entries(content: bytes) -> dict[str, msgspec.Raw]:
    return model.decode(content or b"{}", dict[str, msgspec.Raw])


def check_id(event: str) -> None:
    """Check the id of an event other than `main`. Raises EmoStreamError."""
    if event == MAIN:
        raise EmoStreamError(f"{MAIN} always exists and is always open: it cannot be opened, closed or archived.")
    model.check_event_id(event)


def opened(table: Table, event: str, requested: Definition, now_ms: int) -> Table:
    """Open an event with the title, palette and listing of `requested`, or give an open event these.

    An event that was closed begins anew, with no counts. Raises EmoStreamError if the event cannot be opened now.
    """
    check_id(event)
    known = table.get(event)
    if known is None or known.state == "closed":
        stream = new_stream_id(now_ms, known.stream if known else None)
        return {**table, event: msgspec.structs.replace(requested, state="opening", stream=stream, ended_ms=None)}
    if known.state not in {"opening", "open"}:
        raise EmoStreamError(f"the event {event} is {known.state}: open it again when that is done.")
    return {**table, event: msgspec.structs.replace(requested, state=known.state, stream=known.stream)}


def check_room(table: Table, max_record_bytes: int) -> None:
    """Check that no record can outgrow its bound, however much is counted. Raises EmoStreamError: it says what fits."""
    sizes = [largest_part_bytes(event, definition) for event, definition in table.items()]
    room = max_record_bytes - MAIN_BYTES
    if sum(sizes) > room:
        average = sum(sizes) / len(sizes)
        raise EmoStreamError(
            f"a record with {len(sizes)} events could have {sum(sizes) + MAIN_BYTES} bytes, and Kafka takes "
            f"{max_record_bytes}: {int(room / average)} events of this size fit. Archive events that have ended, or "
            "raise EMOSTREAM_KAFKA_MAX_RECORD_BYTES for all tiers and apply the topics."
        )


def largest_part_bytes(event: str, definition: Definition) -> int:
    """Return the largest size of an event's part in a record, in bytes."""
    # The emoji, its quotes, a colon and a comma, and a count; in `counts`, `swarm` and `totals`.
    emoji = sum(3 * (len(each.encode()) + 4 + _COUNT_DIGITS) for each in definition.palette)
    return len(event) + _PART_BYTES + emoji


def closed(table: Table, event: str) -> Table:
    """Close an event; one that is closed stays so. Raises EmoStreamError if there is no such event."""
    definition = definition_of(table, event)
    if definition.state in {"opening", "open"}:
        return {**table, event: msgspec.structs.replace(definition, state="closing")}
    return table


def archived(table: Table, event: str, now_ms: int, retention_ms: int, *, force: bool = False) -> Table:
    """Take an event out, once its reactions are deleted from Kafka by age.

    Raises EmoStreamError if the event is not closed, or if it ended less than `retention_ms` ago and `force` is not
    set: a reaction that comes late is a dead letter from then on.
    """
    definition = definition_of(table, event)
    if definition.state == "archiving":
        return table
    if definition.state != "closed":
        raise EmoStreamError(f"the event {event} is {definition.state}: close it first.")
    wait_ms = (definition.ended_ms or 0) + retention_ms - now_ms
    if wait_ms > 0 and not force:
        raise EmoStreamError(
            f"the event {event} ended less than {retention_ms / 3_600_000:g} h ago, and Kafka still holds its "
            f"reactions: archive it in {wait_ms / 3_600_000:.1f} h, or now with --force."
        )
    return {**table, event: msgspec.structs.replace(definition, state="archiving")}


def open_streams(table: Table) -> dict[str, str]:
    """Return the events that are not closed yet, each with its stream."""
    return {event: each.stream for event, each in table.items() if each.state in {"opening", "open", "closing"}}


def definition_of(table: Table, event: str) -> Definition:
    """Return the definition of an event. Raises EmoStreamError if there is no such event."""
    check_id(event)
    if event not in table:
        raise EmoStreamError(f"there is no event {event}: `emostream events list` shows those that there are.")
    return table[event]
