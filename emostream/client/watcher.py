"""Checks that a viewer misses no swarm and counts none twice. Pure: no input or output."""

import enum

from emostream import model


class Continuity(enum.Enum):
    """How a message continues what the viewer has."""

    FITS = enum.auto()
    REPEAT = enum.auto()
    """A swarm or an end that the viewer has already: drop it."""
    GAP = enum.auto()
    """A swarm or an end that does not follow the last message: drop it, and resume to get the swarms before it."""


class Watcher:
    """Checks a viewer's messages in order, over all its connections. A repeat or a gap does not change its position.

    The counters count messages, except `lost`, which counts swarms.
    """

    __slots__ = (
        "_base",
        "gaps",
        "has_ended",
        "lost",
        "mismatches",
        "repeats",
        "resets",
        "sequence",
        "snapshots",
        "stream",
        "swarms",
        "totals",
    )

    def __init__(self) -> None:
        self.stream: str | None = None
        self.sequence = -1
        # `sequence` minus the steps that swarms made, so any other message moves it by as much as `sequence`.
        self._base = -1
        self.totals: model.Counts = {}
        """The total of every emoji as of `sequence`."""
        self.has_ended = False
        """Whether the last message was the end of the event, so that the totals are final."""
        self.swarms = 0
        """Swarms that fit."""
        self.snapshots = 0
        self.resets = 0
        self.lost = 0
        """Swarms that the viewer missed because of a reset or a snapshot within one stream."""
        self.repeats = 0
        self.gaps = 0
        self.mismatches = 0
        """Swarms whose totals differ from the totals before plus their own counts, and ends with other totals."""

    @property
    def resume_id(self) -> str | None:
        """The `Last-Event-ID` to resume from. None before the first message."""
        return None if self.stream is None else model.message_id(self.stream, self.sequence)

    @property
    def expected(self) -> int:
        """Swarms from the first message to the last, by the sequence numbers alone, without those that are `lost`."""
        return self.sequence - self._base

    def take(self, message: model.ViewerMessage) -> Continuity:
        """Check and take the next message. Raises ValueError if its id is malformed."""
        if isinstance(message, model.Goodbye):
            return Continuity.FITS
        position = model.parse_message_id(message.id)
        if position is None:
            raise ValueError(f"{message.id!r} is no id of a message")
        stream, sequence = position
        if isinstance(message, model.Swarm | model.End):
            continuity = self._check(stream, sequence)
            if continuity is not Continuity.FITS:
                return continuity
        elif stream == self.stream:
            self.lost += max(0, sequence - self.sequence)
        if isinstance(message, model.Swarm):
            self._count(message)
        else:
            self._replace(message, sequence)
        self.has_ended = isinstance(message, model.End)
        self.stream, self.sequence = position
        return Continuity.FITS

    def _check(self, stream: str, sequence: int) -> Continuity:
        if stream == self.stream and sequence <= self.sequence:
            self.repeats += 1
            return Continuity.REPEAT
        if stream != self.stream or sequence != self.sequence + 1:
            self.gaps += 1
            return Continuity.GAP
        return Continuity.FITS

    def _count(self, swarm: model.Swarm) -> None:
        self.swarms += 1
        for emoji, count in swarm.counts.items():
            if swarm.totals.get(emoji) != self.totals.get(emoji, 0) + count:
                self.mismatches += 1
                break
        self.totals.update(swarm.totals)

    def _replace(self, message: model.Snapshot | model.Reset | model.End, sequence: int) -> None:
        if isinstance(message, model.Reset):
            self.resets += 1
        elif isinstance(message, model.Snapshot):
            self.snapshots += 1
        elif message.totals != self.totals:
            self.mismatches += 1
        self._base += sequence - self.sequence
        self.totals = dict(message.totals)
