"""Decides which records of `swarms` the publisher copies to the cluster's topic. Pure: no input or output.

The cluster's topic is its own checkpoint: each record in it names its offset in `swarms`. The publisher starts at the
offset of the last record, not after it. If it does not find the same record there, `swarms` was recreated, and the old
offsets mean nothing.
"""

import enum
from dataclasses import dataclass

from emostream import model


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """The position of a swarm: its stream, its sequence, and its offset in `swarms`."""

    stream: str
    sequence: int
    offset: int


class Decision(enum.Enum):
    """The action for the next record of `swarms`."""

    RELAY = enum.auto()
    RELAY_AFTER_GAP = enum.auto()
    """Relay the record, although swarms before it are missing from `swarms`. The subscribers reset their viewers."""
    RELAY_NEW_STREAM = enum.auto()
    """Relay the record as the first of a new stream. The subscribers reset their viewers."""
    SKIP = enum.auto()
    """Skip the record: the cluster's topic has it already, or has moved on to a later stream."""
    START_OVER = enum.auto()
    """Read `swarms` from its beginning, because the topic was recreated."""


class Relay:
    """Decides record by record during one term of a publisher.

    `last` is the last record of the cluster's topic, or None if that topic is empty.
    """

    def __init__(self, last: SourcePosition | None) -> None:
        self._last = last
        self._expects_last = last is not None

    @property
    def start_offset(self) -> int | None:
        """The offset in `swarms` at which to start. None means the beginning of the topic."""
        return self._last.offset if self._expects_last and self._last is not None else None

    def start_over(self) -> None:
        """Note that reading restarts at the beginning of `swarms`.

        Called if the start offset is no longer in the topic, or holds another record.
        """
        self._expects_last = False

    def take(self, place: SourcePosition) -> Decision:
        """Decide on the next record. A relayed record becomes the new last one."""
        last, expects_last = self._last, self._expects_last
        self._expects_last = False
        decision = Decision.RELAY
        if last is not None and expects_last and place.stream != last.stream:
            return Decision.START_OVER
        # Stream ids sort by time.
        if last is not None and (place.stream, place.sequence) <= (last.stream, last.sequence):
            return Decision.SKIP
        if last is not None and place.stream != last.stream:
            decision = Decision.RELAY_NEW_STREAM
        elif last is not None and place.sequence > last.sequence + 1:
            decision = Decision.RELAY_AFTER_GAP
        self._last = place
        return decision


def source_position_of(swarm: model.Swarm, offset: int) -> SourcePosition:
    """Return the position of a swarm. Raises ValueError if its id and its sequence disagree."""
    position = model.parse_message_id(swarm.id)
    if position is None or position[1] != swarm.sequence:
        raise ValueError(f"the id {swarm.id!r} is not that of sequence {swarm.sequence}")
    return SourcePosition(*position, offset)
