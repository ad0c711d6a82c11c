"""What one viewer has seen, and whether the next message fits: the proof that nothing is lost or doubled. Pure."""

import enum

from emostream import model


class Verdict(enum.Enum):
    """What a message was to a viewer."""

    FITS = enum.auto()
    REPEAT = enum.auto()
    """A swarm that it had: to be dropped."""
    GAP = enum.auto()
    """A swarm that does not follow the last one: to be dropped, and those before it to be fetched by a resume."""


class Watcher:
    """Takes a viewer's messages in order, over all its connections. A repeat or a gap leaves its position as it was.

    All counts are of messages, but `lost`, which is of swarms.
    """

    __slots__ = (
        "gaps",
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
        self.totals: model.Counts = {}
        """Every emoji's total as of `sequence`."""
        self.swarms = 0
        """Swarms that fitted."""
        self.snapshots = 0
        self.resets = 0
        self.lost = 0
        """Swarms that resets and snapshots left out, where both ends are of one stream."""
        self.repeats = 0
        self.gaps = 0
        self.mismatches = 0
        """Swarms whose totals are not the totals before them plus their counts."""

    @property
    def resume_id(self) -> str | None:
        """The `Last-Event-ID` to go on from; None before the first message."""
        return None if self.stream is None else model.message_id(self.stream, self.sequence)

    def take(self, message: model.ViewerMessage) -> Verdict:
        """Take the next message in. Raises ValueError where its id is malformed."""
        if isinstance(message, model.Goodbye):
            return Verdict.FITS
        position = model.parse_message_id(message.id)
        if position is None:
            raise ValueError(f"{message.id!r} is no id of a message")
        stream, sequence = position
        if isinstance(message, model.Swarm):
            verdict = self._judge(stream, sequence)
            if verdict is Verdict.FITS:
                self._count(message)
                self.sequence = sequence
            return verdict
        if stream == self.stream:
            self.lost += max(0, sequence - self.sequence)
        if isinstance(message, model.Reset):
            self.resets += 1
        else:
            self.snapshots += 1
        self.stream, self.sequence = position
        self.totals = dict(message.totals)
        return Verdict.FITS

    def _judge(self, stream: str, sequence: int) -> Verdict:
        if stream == self.stream and sequence <= self.sequence:
            self.repeats += 1
            return Verdict.REPEAT
        if stream != self.stream or sequence != self.sequence + 1:
            self.gaps += 1
            return Verdict.GAP
        return Verdict.FITS

    def _count(self, swarm: model.Swarm) -> None:
        self.swarms += 1
        for emoji, count in swarm.counts.items():
            if swarm.totals.get(emoji) != self.totals.get(emoji, 0) + count:
                self.mismatches += 1
                break
        self.totals.update(swarm.totals)
