"""Who gets what, when: fans out each swarm, and lets each viewer that is behind read the history at its own pace.

A viewer is in one of three states. *Live*: it has the newest swarm and gets the next one in the fan-out. *Behind*: it
has a position in the history and reads on from there as its connection drains. *Ahead*: it has seen, at another
subscriber, swarms that this one has not got yet, and waits for the one after them. In each state it gets every swarm
once, in order, or a `reset` in place of those that the history no longer holds. A viewer that is too far or too long
ahead gets a `reset` too: its swarms may never come, because a topic was restored from an older disk.

No sockets, no clock, no Kafka: a viewer is anything that has the methods below. Times come in as arguments, of a clock
that only goes forward.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from emostream import model
from emostream.subscriber import metrics
from emostream.subscriber.frames import KINDS
from emostream.subscriber.history import Change, Entry, History, Position, State

# How long a viewer that was told goodbye may take to read it and close, before its connection is cut.
_GOODBYE_TIMEOUT_MS = 2_000
# No aggregator makes swarms faster, so a subscriber that lags for some time lacks no more swarms than this allows.
_SHORTEST_SWARM_MS = 250


class Viewer(Protocol):
    """What the audience needs of a connection. Its identity is its own; no viewer equals another."""

    leaves_at: int | None
    """When its token has expired, in seconds of the audience's clock; None if it may stay. Kept by the audience."""
    position: Position | None
    """Kept by the audience alone; None while live."""
    is_paused: bool
    """Whether something waits to be sent; the connection sets it before it calls `pause` or `resume`."""
    descriptor: int
    """What the audience's `send` knows it by; no other viewer's as long as it is here."""
    heartbeat: bytes
    """What it gets after a silence: `frames.HEARTBEAT` or `frames.VISIBLE_HEARTBEAT` of its kind."""
    write: Callable[[bytes], Any]
    """Send all of it, in its turn. What the connection does not take at once waits, and the viewer is paused."""

    @property
    def kind(self) -> int:
        """An index into `frames.KINDS`."""

    def unread_bytes(self) -> int:
        """What its connection still holds."""

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        """Write the last message and close, once it is read."""

    def finish(self) -> None:
        """Close, once what was written is read: the event has ended."""

    def abort(self) -> None:
        """Cut the connection now."""


class Seats:
    """How many viewers all audiences of this subscriber have, and what was written to them at once."""

    def __init__(self) -> None:
        self.taken = 0
        self._deliveries = self._bytes = 0

    def delivered(self, viewers: int, size_bytes: int) -> None:
        """Note one message to so many viewers. It is in the metrics after the next `publish_metrics`."""
        self._deliveries += viewers
        self._bytes += viewers * size_bytes

    def publish_metrics(self) -> None:
        """Add what was delivered to the metrics, once a record: for each event, that would take as long as a write."""
        metrics.DELIVERIES.inc(self._deliveries)
        metrics.BYTES.inc(self._bytes)
        self._deliveries = self._bytes = 0


class _Paused(NamedTuple):
    """What was unread when it was last seen to shrink, and when that was."""

    unread_bytes: int
    since_ms: int


class Audience:
    """All viewers of one event at this subscriber."""

    def __init__(  # noqa: PLR0913 - each has a name at the call
        self,
        history: History,
        *,
        heartbeat_ms: int,
        slow_viewer_timeout_ms: int,
        max_ahead_ms: int,
        replay_chunk_bytes: int,
        send: Callable[[int, bytes], int],
        soon: Callable[..., Any],
        seats: Seats | None = None,
    ) -> None:
        """`replay_chunk_bytes` of the history are sent to one viewer before the others get their turn.

        `send(descriptor, data)` gives a connection, for which nothing waits, as much as it takes at once, and returns
        how many bytes that was: `os.write`. It raises OSError where the connection takes nothing.
        `soon(function, argument)` calls the function later, after what else is due: an event loop's `call_soon`.
        `seats` counts the viewers of several audiences.
        """
        self._seats = seats or Seats()
        self._history = history
        self._heartbeat_ms = heartbeat_ms
        self._slow_viewer_timeout_ms = slow_viewer_timeout_ms
        self._max_ahead_ms = max_ahead_ms
        self._replay_chunk_bytes = replay_chunk_bytes
        self._send = send
        self._soon = soon
        # Together these are bounded by the subscriber's capacity: whoever lets viewers join asks `len` first.
        self._viewers: set[Viewer] = set()
        self._leaving: dict[Viewer, int] = {}  # told goodbye, and when to stop waiting for them to go
        self._counts = [0 for _ in KINDS]  # of `_viewers`, by kind
        # Parts of `_viewers`; the live ones by descriptor, so that the fan-out looks at nothing else of them.
        self._live: tuple[dict[int, Viewer], ...] = tuple({} for _ in KINDS)
        self._ahead: dict[Viewer, int | None] = {}  # and since when; None until first looked at
        self._paused: dict[Viewer, _Paused | None] = {}  # those that are paused; None until first looked at
        # Those whose token expires, by `leaves_at`. There are no more seconds in it than viewers.
        self._expiring: dict[int, set[Viewer]] = {}
        self._expired_until = 0
        self._live_heartbeat_at_ms = self._ahead_heartbeat_at_ms = 0
        self._now_ms = 0

    def __len__(self) -> int:
        return len(self._viewers) + len(self._leaving)

    def __contains__(self, viewer: Viewer) -> bool:
        """Whether it is here, and was not told goodbye."""
        return viewer in self._viewers

    def viewers(self) -> list[Viewer]:
        """Those that were not told goodbye."""
        return list(self._viewers)

    def count(self, kind: int) -> int:
        """Viewers of one kind that were not told goodbye. Any thread may ask."""
        return self._counts[kind]

    def count_behind(self) -> int:
        """Viewers that read the history, or are paused. Any thread may ask."""
        return len(self._viewers) - sum(map(len, self._live)) - len(self._ahead)

    def join(self, viewer: Viewer, preamble: bytes, last_id: str | None, leaves_at: int | None = None) -> None:
        """Take a viewer in; `preamble` goes out before its first message. The history must hold a state already.

        `leaves_at` is when it must leave, in seconds; a later `sweep` tells it.

        Without `last_id` it is new and gets a snapshot. With one it gets the swarms after it; an id that is malformed,
        of another stream, too far back or too far ahead gets a `reset`.
        """
        self._viewers.add(viewer)
        self._seats.taken += 1
        self._counts[viewer.kind] += 1
        if leaves_at is not None:
            viewer.leaves_at = leaves_at
            self._expiring.setdefault(leaves_at, set()).add(viewer)
        if last_id is None:
            state = self._start
            viewer.position = state.position
            metrics.SNAPSHOTS.inc()
            self._write(viewer, preamble + state.snapshot[viewer.kind])
        else:
            # A malformed id becomes a position in no stream, which no history holds.
            viewer.position = model.parse_message_id(last_id) or ("", 0)
            viewer.write(preamble)
        self._advance(viewer)

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer whose connection is gone or going; harmless when repeated."""
        self._forget(viewer)
        if self._leaving.pop(viewer, None) is not None:
            self._seats.taken -= 1

    def dismiss(self, viewer: Viewer, reason: model.GoodbyeReason, now_ms: int) -> None:
        """Tell a viewer to go elsewhere; if it does not, its connection is cut by a later `sweep`."""
        self._forget(viewer)
        self._leave_until(viewer, now_ms + _GOODBYE_TIMEOUT_MS)
        viewer.say_goodbye(reason)

    def restart(self, state: State, counted: Mapping[str, int]) -> Change:
        """Let all viewers go on from this state, before which swarms are missing, unless it is a repeat.

        `counted` are the offsets of `reactions` up to which the state counts.
        """
        before = self._history.state
        change = self._history.restart(state, counted)
        if change is not Change.REPEAT and before is not None:
            self._restart(before.position)
        return change

    def publish(self, entry: Entry, totals: model.Counts, now_ms: int, *, is_end: bool = False) -> Change:
        """Take the next swarm of the cluster's topic, or the event's end, and write it to every live viewer.

        After the end, each viewer is let go once it has read all.
        """
        before = self._history.state
        self._now_ms = now_ms
        change = self._history.append(entry, totals, now_ms, is_end=is_end)
        if change is Change.REPEAT:
            metrics.REPEATS.inc()
            return change
        if change is Change.NEXT:
            self._fan_out(entry)
        elif before is not None:
            (metrics.GAPS if change is Change.GAP else metrics.NEW_STREAMS).inc()
            self._restart(before.position)
        self._live_heartbeat_at_ms = now_ms + self._heartbeat_ms
        for viewer in [viewer for viewer in self._ahead if not self._is_ahead(viewer)]:
            del self._ahead[viewer]
            self._advance(viewer)
        if is_end:
            for viewer in [viewer for live in self._live for viewer in live.values()]:
                self._finish(viewer)
        return change

    def pause(self, viewer: Viewer) -> None:
        """Something waits to be sent: write no more; what the viewer misses it reads from the history later."""
        metrics.PAUSES.inc()
        if viewer in self._viewers:
            self._paused[viewer] = None
            if viewer.position is None:
                del self._live[viewer.kind][viewer.descriptor]
                # What waits ends with the newest swarm.
                viewer.position = self._state.position

    def resume(self, viewer: Viewer) -> None:
        """All is sent."""
        self._paused.pop(viewer, None)
        self._advance(viewer)

    def sweep(self, now_ms: int) -> None:
        """Do what is due by time: heartbeats, resets, the end of those who do not read. Call it often in a second."""
        self._now_ms = now_ms
        self._send_heartbeats(now_ms)
        for viewer, since_ms in list(self._ahead.items()):
            if since_ms is None:
                self._ahead[viewer] = now_ms
            elif now_ms - since_ms >= self._max_ahead_ms and not viewer.is_paused:
                del self._ahead[viewer]
                self._reset(viewer)
                self._advance(viewer)
        for viewer, seen in list(self._paused.items()):
            unread_bytes = viewer.unread_bytes()
            if seen is None or unread_bytes < seen.unread_bytes:
                self._paused[viewer] = _Paused(unread_bytes, now_ms)
            elif now_ms - seen.since_ms >= self._slow_viewer_timeout_ms:
                metrics.SLOW_CLOSES.inc()
                self.dismiss(viewer, "slow", now_ms)
        self._expire(now_ms)
        for viewer in [viewer for viewer, deadline_ms in self._leaving.items() if now_ms >= deadline_ms]:
            del self._leaving[viewer]
            self._seats.taken -= 1
            viewer.abort()

    def _expire(self, now_ms: int) -> None:
        second = now_ms // 1_000
        if second == self._expired_until:
            return
        self._expired_until = second
        for due in [each for each in self._expiring if each <= second]:
            for viewer in list(self._expiring.get(due, ())):
                metrics.EXPIRIES.inc()
                self.dismiss(viewer, "expired", now_ms)

    @property
    def _start(self) -> State:
        """The state from which a viewer begins that lacks the swarms before it."""
        state = self._history.start
        if state is None:
            raise RuntimeError("viewers join only once there is a state")
        return state

    @property
    def _state(self) -> State:
        state = self._history.state
        if state is None:
            raise RuntimeError("viewers join only once there is a state")
        return state

    def _fan_out(self, entry: Entry) -> None:
        send = self._send
        for kind, live in enumerate(self._live):
            if not live:
                continue
            frame = entry.frames[kind]
            size_bytes = len(frame)
            # Before it may shrink: a viewer that does not take all of it is live no more.
            self._seats.delivered(len(live), size_bytes)
            for descriptor in tuple(live):
                try:
                    sent_bytes = send(descriptor, frame)
                except OSError:
                    # Full, or gone: to write tells which.
                    sent_bytes = 0
                if sent_bytes != size_bytes:
                    live[descriptor].write(frame[sent_bytes:])

    def _restart(self, position: Position) -> None:
        """The history began anew: each live viewer, which had come to `position`, goes on from there as it can."""
        for live in self._live:
            for viewer in tuple(live.values()):
                del live[viewer.descriptor]
                viewer.position = position
                self._advance(viewer)

    def _advance(self, viewer: Viewer) -> None:
        """Let a viewer that is not live read on, until something waits to be sent or it has caught up."""
        if viewer.is_paused or viewer.position is None or viewer not in self._viewers:
            return
        if self._history.can_resume(viewer.position) and not self._is_too_far_ahead(viewer.position):
            self._replay(viewer, viewer.position)
        else:
            self._reset(viewer)
        if self._is_ahead(viewer):
            self._ahead[viewer] = None
        elif not viewer.is_paused:
            if viewer.position == self._state.position and self._history.has_ended:
                self._finish(viewer)
            elif viewer.position == self._state.position:
                viewer.position = None
                self._live[viewer.kind][viewer.descriptor] = viewer
            else:
                self._soon(self._advance, viewer)

    def _replay(self, viewer: Viewer, position: Position) -> None:
        stream, sequence = position
        entries = self._history.after(sequence, self._replay_chunk_bytes)
        if entries:
            viewer.position = stream, entries[-1].sequence
            metrics.DELIVERIES.inc(len(entries))
            self._write(viewer, b"".join([entry.frames[viewer.kind] for entry in entries]))

    def _finish(self, viewer: Viewer) -> None:
        """Let a viewer go that has read the end of the event."""
        self._forget(viewer)
        self._leave_until(viewer, self._now_ms + _GOODBYE_TIMEOUT_MS)
        viewer.finish()

    def _leave_until(self, viewer: Viewer, deadline_ms: int) -> None:
        self._leaving[viewer] = deadline_ms
        self._seats.taken += 1

    def _reset(self, viewer: Viewer) -> None:
        state = self._start
        viewer.position = state.position
        metrics.RESETS.inc()
        self._write(viewer, state.reset[viewer.kind])

    def _is_too_far_ahead(self, position: Position) -> bool:
        return position[1] - self._state.sequence > self._max_ahead_ms // _SHORTEST_SWARM_MS

    def _is_ahead(self, viewer: Viewer) -> bool:
        state, position = self._state, viewer.position
        return position is not None and position[0] == state.stream and position[1] > state.sequence

    def _write(self, viewer: Viewer, data: bytes) -> None:
        metrics.BYTES.inc(len(data))
        viewer.write(data)

    def _forget(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._seats.taken -= 1
            self._counts[viewer.kind] -= 1
            self._forget_expiry(viewer)
        # Another one may have its descriptor by now.
        if self._live[viewer.kind].get(viewer.descriptor) is viewer:
            del self._live[viewer.kind][viewer.descriptor]
        self._ahead.pop(viewer, None)
        self._paused.pop(viewer, None)

    def _forget_expiry(self, viewer: Viewer) -> None:
        if viewer.leaves_at is None:
            return
        others = self._expiring[viewer.leaves_at]
        others.discard(viewer)
        if not others:
            del self._expiring[viewer.leaves_at]

    def _send_heartbeats(self, now_ms: int) -> None:
        # A swarm is a sign of life to the live viewers, but those that are ahead do not get it.
        if now_ms >= self._live_heartbeat_at_ms:
            self._live_heartbeat_at_ms = now_ms + self._heartbeat_ms
            for live in self._live:
                for viewer in tuple(live.values()):
                    viewer.write(viewer.heartbeat)
        if now_ms >= self._ahead_heartbeat_at_ms:
            self._ahead_heartbeat_at_ms = now_ms + self._heartbeat_ms
            for viewer in self._ahead:
                if not viewer.is_paused:
                    viewer.write(viewer.heartbeat)
