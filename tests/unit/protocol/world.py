"""A simulation of Kafka and the processes around the pure modules of the production code.

Processes die or sleep, and answers get lost. The simulation makes no decisions about swarms. The production modules
decide what to count, where to continue, what to relay, and what a viewer gets: `swarms.rules`, `publisher.relay`,
`subscriber.audience` and `client.watcher`. The simulation provides the other protections. Each of them can be switched
off, to show that it is needed.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from emostream import model
from emostream.client.watcher import Continuity, Watcher
from emostream.errors import EmoStreamError
from emostream.publisher.relay import Decision, Relay, SourcePosition, source_position_of
from emostream.subscriber import frames
from emostream.subscriber.audience import Audience
from emostream.subscriber.consumer import read_record
from emostream.subscriber.history import Change, History, Position
from emostream.swarms.rules import (
    Batch,
    Compression,
    Group,
    ReactionsTopic,
    first_swarm,
    next_swarm,
    progress_of,
    starting_offsets,
)
from tests.unit.subscriber.examples import sse_messages

PARTITIONS = (0, 1)
NEVER_MS = 10**12
# So few messages fill the buffer of a connection that viewers fall behind often.
BUFFERED_MESSAGES = 2
COMPRESSION = Compression(1_000, "ceil")


@dataclass(frozen=True)
class Protections:
    """The protections that keep the promise during faults. Each one can be switched off."""

    fence: bool = True
    """The broker refuses the writes of an aggregator once a later one has started."""
    read_back: bool = True
    """An aggregator starts from the last record of `swarms`, not from the last record whose write was confirmed."""
    never_resend: bool = True
    """An aggregator ends when it does not know whether its write succeeded, instead of writing again."""
    order_assertion: bool = True
    """`next_swarm` checks the offsets that Spark read."""
    drop_repeats: bool = True
    """A subscriber does not pass on a swarm that is a repeat to its history."""


class FencedError(Exception):
    """The broker refuses a write, because a later writer has started."""


@dataclass
class Broker:
    """The topics `reactions` and `swarms`. A write to `swarms` is a transaction: it is complete, or not there."""

    fences: bool
    reactions: dict[int, list[model.Counts]] = field(default_factory=lambda: {number: [] for number in PARTITIONS})
    swarms: list[model.Swarm] = field(default_factory=list)
    epoch: int = 0
    streams: int = 0

    def begin_stream(self) -> None:
        """Do the same as `emostream topics apply --new-stream`: fence, read the last record, append record 0."""
        self.epoch += 1
        self.streams += 1
        last = self.swarms[-1] if self.swarms else None
        self.swarms.append(first_swarm(f"s{self.streams}", self.describe(), last))

    def describe(self) -> ReactionsTopic:
        ends = {number: len(records) for number, records in self.reactions.items()}
        return ReactionsTopic("topic", dict.fromkeys(self.reactions, 0), ends)

    def append(self, swarm: model.Swarm, epoch: int) -> None:
        """Append a swarm for an aggregator of this epoch, and check that `swarms` still keeps the promise."""
        if self.fences and epoch != self.epoch:
            raise FencedError
        before = self.swarms[-1]
        assert swarm.sequence == before.sequence + 1, f"sequence {swarm.sequence} follows {before.sequence}"
        assert swarm.window.start >= before.window.end, "windows overlap"
        covered = self.counts_between(progress_of(before).offsets, progress_of(swarm).offsets)
        assert Counter(swarm.counts) == covered, "reactions were lost or counted twice"
        assert Counter(swarm.totals) == Counter(before.totals) + covered, "totals are not the sum of counts"
        self.swarms.append(swarm)

    def counts_between(self, start: Mapping[str, int], end: Mapping[str, int]) -> Counter[str]:
        found: Counter[str] = Counter()
        for number, records in self.reactions.items():
            for record in records[start[str(number)] : end[str(number)]]:
                found.update(record)
        return found


class Aggregator:
    """One aggregator. It fences, reads the last record, prepares a swarm, and writes it, each in a separate step.

    Other processes take steps in between. So each pause between two steps is like a process that slept for a while.
    """

    def __init__(self, broker: Broker, protections: Protections) -> None:
        broker.epoch += 1
        self._broker = broker
        self._protections = protections
        self._epoch = broker.epoch
        self.last: model.Swarm | None = None
        self._position: dict[int, int] = {}
        self.pending: model.Swarm | None = None
        self.has_ended = False

    def read_back(self, last_known: model.Swarm, stale: Mapping[int, int] | None) -> None:
        """Start from the last record. If `stale` is set, Spark starts from these offsets of an old checkpoint."""
        self.last = self._broker.swarms[-1] if self._protections.read_back else last_known
        self._position = dict(stale or starting_offsets(self.last, self._broker.describe()))

    def prepare(self, records: Sequence[int], now_ms: int) -> None:
        """Let Spark read this many records of each partition, and make the next swarm of them."""
        assert self.last is not None
        previous = self.last
        if not self._protections.order_assertion:
            offsets = {str(number): offset for number, offset in self._position.items()}
            progress = msgspec.structs.replace(progress_of(previous), offsets=offsets)
            previous = msgspec.structs.replace(previous, progress=progress)
        batch = self._read(records)
        self._position = dict(batch.ends)
        try:
            swarm = next_swarm(previous, batch, now_ms, 10, COMPRESSION)
        except EmoStreamError:
            self.has_ended = True
            return
        if swarm.progress != self.last.progress:
            self.pending = swarm

    def write(self, *, arrives: bool, is_answered: bool) -> model.Swarm | None:
        """Commit the prepared swarm. Returns it if the write is confirmed, otherwise None."""
        assert self.pending is not None
        swarm, self.pending = self.pending, None
        try:
            if arrives:
                self._broker.append(swarm, self._epoch)
        except FencedError:
            self.has_ended = True
            return None
        if arrives and is_answered:
            self.last = swarm
            return swarm
        if self._protections.never_resend:
            self.has_ended = True
        else:
            self.pending = swarm
        return None

    def _read(self, records: Sequence[int]) -> Batch:
        ends, groups = {}, []
        for number, log in self._broker.reactions.items():
            start = self._position[number]
            ends[number] = min(start + records[number], len(log))
            for offset in range(start, ends[number]):
                # A record without reactions is in a group too.
                for emoji, count in log[offset].items() or [(None, 0)]:
                    groups.append(Group(number, emoji, count, 1, offset, offset))
        return Batch(ends, groups)


@dataclass(frozen=True)
class ClusterRecord:
    """A record of a cluster's topic, with the attributes that a subscriber reads."""

    value: bytes
    position: SourcePosition
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class Publisher:
    """One term of a publisher. Its sent records arrive later, even if it was replaced in the meantime."""

    def __init__(self, broker: Broker, topic: list[ClusterRecord]) -> None:
        self._broker = broker
        self._topic = topic
        self._relay = Relay(topic[-1].position if topic else None)
        self._offset = self._relay.start_offset or 0
        self.sent: deque[ClusterRecord] = deque()

    def take(self, records: int) -> None:
        """Read the next records of `swarms`, and send those that must be relayed."""
        for offset in range(self._offset, min(self._offset + records, len(self._broker.swarms))):
            swarm = self._broker.swarms[offset]
            position = source_position_of(swarm, offset)
            decision = self._relay.take(position)
            assert decision in {Decision.RELAY, Decision.SKIP, Decision.RELAY_NEW_STREAM}, decision
            if decision is not Decision.SKIP:
                self.sent.append(ClusterRecord(model.encode(swarm), position))
            self._offset = offset + 1

    def arrive(self) -> None:
        """Append the oldest sent record to the cluster's topic."""
        self._topic.append(self.sent.popleft())

    def arrive_all(self) -> None:
        """Append all sent records to the cluster's topic."""
        while self.sent:
            self.arrive()


class Subscriber:
    """One run of a subscriber. It starts to read its cluster's topic at the beginning of its history."""

    def __init__(self, topic: list[ClusterRecord], protections: Protections) -> None:
        self._topic = topic
        self._protections = protections
        self._offset = 0
        self._soon: deque[tuple[Callable[..., Any], Any]] = deque()
        self.connections: dict[int, Connection] = {}
        self.audience = Audience(
            History(keep_ms=NEVER_MS, max_bytes=10**9),
            heartbeat_ms=NEVER_MS,
            slow_viewer_timeout_ms=NEVER_MS,
            max_ahead_ms=NEVER_MS,
            replay_chunk_bytes=500,
            send=lambda descriptor, data: self.connections[descriptor].send(data),
            soon=lambda function, argument: self._soon.append((function, argument)),
        )
        # A subscriber is registered, and gets viewers, once its history is filled.
        self._filled_at = len(topic)

    @property
    def takes_viewers(self) -> bool:
        return 0 < self._filled_at <= self._offset

    def read(self, records: int) -> None:
        """Read this many records, or all if there are fewer, and publish them to the viewers."""
        for record in self._topic[self._offset : self._offset + records]:
            self._offset += 1
            entry, totals = read_record(record, received_ms=0)
            change = self.audience.publish(entry, totals, now_ms=0)
            if change is Change.REPEAT and not self._protections.drop_repeats:
                for viewer in self.audience.viewers():
                    viewer.write(entry.frames[viewer.kind])
        self._filled_at = self._filled_at or len(self._topic)

    def take_turns(self) -> None:
        """Run the calls that were scheduled with `soon`."""
        while self._soon:
            function, argument = self._soon.popleft()
            function(argument)


class Connection:
    """A viewer's connection. When it ends, the messages that the viewer has not read are lost."""

    kind = frames.SSE

    def __init__(self, subscriber: Subscriber, last_id: str | None) -> None:
        self.subscriber = subscriber
        self.unread: deque[model.ViewerMessage] = deque()
        self.position: Position | None = None
        self.leaves_at: int | None = None
        self.is_paused = False
        self.descriptor = id(self)
        self.heartbeat = b""
        subscriber.connections[self.descriptor] = self
        subscriber.audience.join(self, b"", last_id)

    def send(self, data: bytes) -> int:
        assert not self.is_paused, "what waits would be overtaken"
        if len(self.unread) == BUFFERED_MESSAGES:
            raise BlockingIOError
        self.unread.extend(sse_messages(data))
        return len(data)

    def write(self, data: bytes) -> None:
        self.unread.extend(sse_messages(data))
        if len(self.unread) > BUFFERED_MESSAGES and not self.is_paused:
            self.is_paused = True
            self.subscriber.audience.pause(self)

    def read(self) -> model.ViewerMessage:
        message = self.unread.popleft()
        if self.is_paused and not self.unread:
            self.is_paused = False
            self.subscriber.audience.resume(self)
        return message

    def unread_bytes(self) -> int:
        return len(self.unread)

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        raise AssertionError(f"nobody is told goodbye here ({reason})")

    def abort(self) -> None:
        raise AssertionError("nobody is cut off here")


class Viewer:
    """A viewer, over all its connections."""

    def __init__(self) -> None:
        self.watcher = Watcher()
        self.connection: Connection | None = None

    def connect(self, subscriber: Subscriber) -> None:
        """Connect to this subscriber, and resume after the last message that was read."""
        self.disconnect()
        self.connection = Connection(subscriber, self.watcher.resume_id)

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.subscriber.audience.leave(self.connection)
            self.connection = None

    def read(self, messages: int) -> None:
        """Read this many messages, or all if there are fewer, and check that they keep the promise."""
        assert self.connection is not None
        for _ in range(min(messages, len(self.connection.unread))):
            continuity = self.watcher.take(self.connection.read())
            assert continuity is Continuity.FITS, f"a viewer at {self.watcher.resume_id} got a {continuity.name}"
            assert self.watcher.mismatches == 0, "counts and totals of a swarm contradict what the viewer saw before"
            assert self.watcher.lost == 0, "a viewer was reset over swarms that the history holds"
