"""Which records of `swarms` go to the cluster's topic, given the last one that is there. Pure.

The cluster's topic is its own checkpoint: each record in it names the offset in `swarms` that it was read from. Reading
begins at that very record, not behind it: where it is not there as it was, `swarms` was made anew, and its offsets say
nothing any more.
"""

import enum
from dataclasses import dataclass

from emostream import model


@dataclass(frozen=True, slots=True)
class Place:
    """One swarm in the order of all; `offset` is its place in `swarms`."""

    stream: str
    sequence: int
    offset: int


class Decision(enum.Enum):
    """What to do with the next record of `swarms`."""

    RELAY = enum.auto()
    RELAY_AFTER_GAP = enum.auto()
    """Relay it, although swarms between are gone from `swarms`: the subscribers reset their viewers."""
    RELAY_NEW_STREAM = enum.auto()
    """Relay it, as the first of another stream: the subscribers reset their viewers."""
    SKIP = enum.auto()
    """The cluster has it, or has gone on to a later stream."""
    START_OVER = enum.auto()
    """Read `swarms` from its beginning: it is not the log that it was."""


class Relay:
    """One term of relaying; `last` is the cluster topic's last record, None where that topic is empty."""

    def __init__(self, last: Place | None) -> None:
        self._last = last
        self._expects_last = last is not None

    @property
    def start_offset(self) -> int | None:
        """Where to begin in `swarms`; None: at its beginning."""
        return self._last.offset if self._expects_last and self._last is not None else None

    def start_over(self) -> None:
        """Reading goes on at the beginning of `swarms`, because the start offset is not in it, or not what it was."""
        self._expects_last = False

    def take(self, place: Place) -> Decision:
        """Decide on the next record; one that is relayed counts as the last from then on."""
        last, expects_last = self._last, self._expects_last
        self._expects_last = False
        decision = Decision.RELAY
        if last is not None and expects_last and place.stream != last.stream:
            return Decision.START_OVER
        # The ids of streams sort by time.
        if last is not None and (place.stream, place.sequence) <= (last.stream, last.sequence):
            return Decision.SKIP
        if last is not None and place.stream != last.stream:
            decision = Decision.RELAY_NEW_STREAM
        elif last is not None and place.sequence > last.sequence + 1:
            decision = Decision.RELAY_AFTER_GAP
        self._last = place
        return decision


def place_of(swarm: model.Swarm, offset: int) -> Place:
    """Raises ValueError where the swarm contradicts itself."""
    position = model.parse_message_id(swarm.id)
    if position is None or position[1] != swarm.sequence:
        raise ValueError(f"the id {swarm.id!r} is not that of sequence {swarm.sequence}")
    return Place(*position, offset)
