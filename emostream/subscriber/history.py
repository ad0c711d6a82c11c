"""The swarms of the last minutes, ready to send, and the totals as of the newest: all that a subscriber remembers.

Pure: records and times come in as arguments. Times are of a clock that only goes forward.
"""

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from emostream import model
from emostream.subscriber import frames
from emostream.subscriber.frames import Frames

# Stream and sequence of the newest message that a viewer has; the swarm after it is the next that it needs.
Position = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One swarm of the history. Times are milliseconds since the epoch, for `/v1/trace`; one may be unknown."""

    stream: str
    sequence: int
    frames: Frames
    window_end: int
    swarms_timestamp: int | None
    cluster_timestamp: int
    received_timestamp: int
    # By partition of `reactions`, the offset after the last record that is counted.
    counted: Mapping[str, int] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return len(self.frames.sse) + len(self.frames.ws)


@dataclass(frozen=True)
class State:
    """The totals as of one swarm, as viewers get them who do not know what came before; encoded when asked for."""

    stream: str
    sequence: int
    totals: model.Counts

    @property
    def position(self) -> Position:
        return self.stream, self.sequence

    @cached_property
    def snapshot(self) -> Frames:
        return frames.of(model.Snapshot(model.message_id(*self.position), self.sequence, self.totals))

    @cached_property
    def reset(self) -> Frames:
        return frames.of(model.Reset(model.message_id(*self.position), self.sequence, self.totals))


class Change(enum.Enum):
    """What a swarm is to the history."""

    NEXT = enum.auto()
    REPEAT = enum.auto()
    GAP = enum.auto()
    NEW_STREAM = enum.auto()


class History:
    """An unbroken run of swarms of one stream; what follows on a gap, or is of a later stream, starts it anew.

    It is bounded by bytes, and by the time since a swarm was received, whatever the clocks of other machines say. Past
    either bound the oldest swarms go, and a viewer that needs them gets a `reset`.
    (`emostream_subscriber_history_bytes` and `…_history_swarms` show its size.)
    """

    def __init__(self, keep_ms: int, max_bytes: int) -> None:
        self._keep_ms = keep_ms
        self._max_bytes = max_bytes
        self._entries: dict[int, Entry] = {}
        # When each of them was received, in the same order.
        self._received_ms: deque[int] = deque()
        # The sequence before the oldest entry: the earliest that a viewer can resume from.
        self._base = 0
        # What was counted before the oldest entry; None where that is unknown.
        self._base_counted: Mapping[str, int] | None = None
        self.state: State | None = None
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry, totals: model.Counts, now_ms: int) -> Change:
        """Add the newest swarm, received now, unless it is a repeat; `totals` are those of all emoji as of it."""
        change = self._change(entry)
        if change is Change.REPEAT:
            return change
        if change is not Change.NEXT:
            self._entries.clear()
            self._received_ms.clear()
            self.size_bytes = 0
            self._base = entry.sequence - 1
            self._base_counted = None
        self._entries[entry.sequence] = entry
        self._received_ms.append(now_ms)
        self.size_bytes += entry.size_bytes
        self.state = State(entry.stream, entry.sequence, totals)
        self._trim(now_ms)
        return change

    def can_resume(self, position: Position | None) -> bool:
        """Whether no swarm after `position` is missing; one that is ahead of the newest lacks none so far."""
        return (
            self.state is not None
            and position is not None
            and position[0] == self.state.stream
            and position[1] >= self._base
        )

    def after(self, sequence: int, max_bytes: int) -> list[Entry]:
        """The swarms after one from which a viewer can resume, oldest first: up to `max_bytes`, but one at least."""
        found: list[Entry] = []
        size_bytes = 0
        while (entry := self._entries.get(sequence + len(found) + 1)) is not None:
            # Both kinds of frame have nearly the same size, and a viewer gets one of them.
            size_bytes += entry.size_bytes // 2
            if found and size_bytes > max_bytes:
                break
            found.append(entry)
        return found

    def at(self, sequence: int) -> Entry | None:
        """The swarm of this sequence; None if it is still to come, or no longer remembered."""
        return self._entries.get(sequence)

    def covering(self, partition: str, offset: int) -> Entry | None:
        """The swarm that counts this record of `reactions`; None if it is not counted yet, or no longer remembered."""
        for sequence in reversed(self._entries):
            entry = self._entries[sequence]
            if offset >= entry.counted.get(partition, 0):
                return None
            earlier = self._entries.get(sequence - 1)
            counted_before = earlier.counted if earlier is not None else self._base_counted
            if counted_before is not None and offset >= counted_before.get(partition, 0):
                return entry
        return None

    def _change(self, entry: Entry) -> Change:
        if self.state is None or entry.stream > self.state.stream:
            return Change.NEW_STREAM
        # Of an earlier stream too: a publisher that was replaced writes late.
        if entry.stream < self.state.stream or entry.sequence <= self.state.sequence:
            return Change.REPEAT
        return Change.NEXT if entry.sequence == self.state.sequence + 1 else Change.GAP

    def _trim(self, now_ms: int) -> None:
        while self._entries:
            oldest = self._entries[self._base + 1]
            if self._received_ms[0] >= now_ms - self._keep_ms and self.size_bytes <= self._max_bytes:
                break
            del self._entries[oldest.sequence]
            self._received_ms.popleft()
            self.size_bytes -= oldest.size_bytes
            self._base = oldest.sequence
            self._base_counted = oldest.counted
