"""The subscriber's memory: the encoded swarms of the last minutes, and the totals as of the newest swarm.

Pure: records and times are arguments. Unless stated otherwise, times come from a monotonic clock.
"""

import enum
from collections import deque
from collections.abc import Mapping
from functools import cached_property

import msgspec

from emostream import model
from emostream.subscriber import frames
from emostream.subscriber.frames import Frames

# The stream and the sequence of the newest message that a viewer has. The viewer needs the swarm after it next.
Position = tuple[str, int]


class Entry(msgspec.Struct, frozen=True):
    """One swarm of the history. Times are milliseconds since the epoch, for `/v1/trace`. None is an unknown time.

    Each record makes one for each event, and a State too. So both are structs of msgspec: to make a frozen dataclass
    takes ten times as long.
    """

    stream: str
    sequence: int
    frames: Frames
    window_end: int
    swarms_timestamp: int | None
    cluster_timestamp: int
    received_timestamp: int
    # By partition of `reactions`: the offset after the last counted record.
    counted: Mapping[str, int] = {}
    window_start: int = 0

    @property
    def size_bytes(self) -> int:
        """What it takes at most, with all encodings."""
        return self.frames.most_bytes

    def of_event(self, stream: str, sequence: int, event_frames: Frames) -> "Entry":
        """Return the entry of another event in the same record."""
        return Entry(
            stream,
            sequence,
            event_frames,
            self.window_end,
            self.swarms_timestamp,
            self.cluster_timestamp,
            self.received_timestamp,
            self.counted,
            self.window_start,
        )


class State(msgspec.Struct, frozen=True, dict=True):
    """The totals as of one swarm, for viewers that lack the swarms before it. Encoded on first use."""

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
    """The result of adding a swarm to the history."""

    NEXT = enum.auto()
    REPEAT = enum.auto()
    GAP = enum.auto()
    NEW_STREAM = enum.auto()


class History:
    """The recent swarms of one stream, without a gap. A swarm after a gap, or of a later stream, restarts the history.

    The history is bounded by its size in bytes and by the time since a swarm was received. That time does not depend on
    the clocks of other machines. Past either bound, the history drops the oldest swarms, and a viewer that needs them
    gets a `reset`. The metrics `emostream_subscriber_history_bytes` and `…_history_swarms` show the size.
    """

    def __init__(self, keep_ms: int, max_bytes: int) -> None:
        self._keep_ms = keep_ms
        self._max_bytes = max_bytes
        self._entries: dict[int, Entry] = {}
        # The time at which each entry was received, in the same order.
        self._received_ms: deque[int] = deque()
        # The sequence before the oldest entry. A viewer can resume from this sequence or a later one.
        self._base = 0
        # The counted offsets before the oldest entry. None if they are unknown.
        self._base_counted: Mapping[str, int] | None = None
        self.state: State | None = None
        self.has_ended = False
        """Whether the newest entry is the end of the event. It is kept until the history goes on or restarts."""
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def start(self) -> State | None:
        """The state from which a new viewer begins: the newest one, but before the end, which the viewer gets next."""
        if self.state is None or not self.has_ended:
            return self.state
        return State(self.state.stream, self.state.sequence - 1, self.state.totals)

    def is_repeat(self, position: Position) -> bool:
        """Return whether a swarm with this position would be a repeat."""
        return self._change(position) is Change.REPEAT

    def append(self, entry: Entry, totals: model.Counts, now_ms: int, *, is_end: bool = False) -> Change:
        """Add the newest swarm, which was received now, or the end of the event. A repeat is not added.

        `totals` holds the total of every emoji as of this swarm.
        """
        change = self._change((entry.stream, entry.sequence))
        if change is Change.REPEAT:
            return change
        if change is not Change.NEXT:
            self._clear(entry.sequence - 1)
        self._entries[entry.sequence] = entry
        self._received_ms.append(now_ms)
        self.size_bytes += entry.size_bytes
        self.state = State(entry.stream, entry.sequence, totals)
        self.has_ended = is_end
        self._trim(now_ms)
        return change

    def restart(self, state: State, counted: Mapping[str, int]) -> Change:
        """Go on from this state, unless it is a repeat. The history holds no swarm before it.

        `counted` holds, by partition of `reactions`, the offset after the last record that the state counts.
        """
        change = self._change(state.position)
        if change is not Change.REPEAT:
            self._clear(state.sequence)
            self._base_counted = counted
            self.state, self.has_ended = state, False
        return change

    def drop_oldest(self) -> bool:
        """Drop the oldest swarm, to make room for other events. Returns False if none may be dropped."""
        oldest = self._entries.get(self._base + 1)
        if oldest is None or self._is_last(oldest):
            return False
        self._drop(oldest)
        return True

    def can_resume(self, position: Position | None) -> bool:
        """Return whether the history holds all swarms after `position`.

        A position after the newest swarm can resume too, because no swarm is missing so far.
        """
        return (
            self.state is not None
            and position is not None
            and position[0] == self.state.stream
            and position[1] >= self._base
        )

    def after(self, sequence: int, max_bytes: int) -> list[Entry]:
        """Return the swarms after `sequence`, oldest first: up to `max_bytes`, but at least one if there is one.

        A viewer must be able to resume from `sequence`.
        """
        found: list[Entry] = []
        size_bytes = 0
        while (entry := self._entries.get(sequence + len(found) + 1)) is not None:
            # No viewer gets more of it.
            size_bytes += len(entry.frames.sse)
            if found and size_bytes > max_bytes:
                break
            found.append(entry)
        return found

    def at(self, sequence: int) -> Entry | None:
        """Return the swarm with this sequence, or None if it has not come yet or is no longer kept."""
        return self._entries.get(sequence)

    def covering(self, partition: str, offset: int) -> Entry | None:
        """Return the swarm that counts this record of `reactions`.

        None if the record is not counted yet, or if the swarm is no longer kept.
        """
        for sequence in reversed(self._entries):
            entry = self._entries[sequence]
            if offset >= entry.counted.get(partition, 0):
                return None
            earlier = self._entries.get(sequence - 1)
            counted_before = earlier.counted if earlier is not None else self._base_counted
            if counted_before is not None and offset >= counted_before.get(partition, 0):
                return entry
        return None

    def _change(self, position: Position) -> Change:
        stream, sequence = position
        if self.state is None or stream > self.state.stream:
            return Change.NEW_STREAM
        # A swarm of an earlier stream is a repeat too: a publisher that was replaced may write late.
        if stream < self.state.stream or sequence <= self.state.sequence:
            return Change.REPEAT
        return Change.NEXT if sequence == self.state.sequence + 1 else Change.GAP

    def _clear(self, base: int) -> None:
        self._entries.clear()
        self._received_ms.clear()
        self.size_bytes = 0
        self._base = base
        self._base_counted = None

    def _is_last(self, entry: Entry) -> bool:
        """Whether this is the end of the event, which each new viewer still gets."""
        return self.has_ended and self.state is not None and entry.sequence == self.state.sequence

    def _trim(self, now_ms: int) -> None:
        while self._entries:
            oldest = self._entries[self._base + 1]
            is_kept = self._received_ms[0] >= now_ms - self._keep_ms and self.size_bytes <= self._max_bytes
            if is_kept or self._is_last(oldest):
                break
            self._drop(oldest)

    def _drop(self, oldest: Entry) -> None:
        del self._entries[oldest.sequence]
        self._received_ms.popleft()
        self.size_bytes -= oldest.size_bytes
        self._base = oldest.sequence
        self._base_counted = oldest.counted
