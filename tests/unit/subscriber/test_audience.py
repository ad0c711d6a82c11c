"""Each viewer gets each swarm once, in order, or a reset, in any order of events and however slowly it reads."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from emostream import model
from emostream.subscriber import frames
from emostream.subscriber.audience import Audience
from emostream.subscriber.history import History, Position
from tests.unit.subscriber.examples import entry, sse_messages

BUFFER_BYTES = 600
CHUNK_BYTES = 500
HEARTBEAT_MS = 1_000
SLOW_MS = 5_000
AHEAD_MS = 10_000


class FakeViewer:
    """A connection that is read only when `read` is called. Above some bytes, further writes wait."""

    kind = frames.SSE

    def __init__(self, audience: Audience, start: Position | None) -> None:
        self.audience = audience
        self.start = start
        self.descriptor = id(self)
        self.heartbeat = frames.HEARTBEAT.sse
        self.position: Position | None = None
        self.leaves_at: int | None = None
        self.is_paused = False
        self.buffer = b""
        self.received = b""
        self.goodbye: str | None = None
        self.is_aborted = False

    def send(self, data: bytes) -> int:
        assert not self.is_paused, "what waits would be overtaken"
        taken = data[: BUFFER_BYTES - len(self.buffer)]
        if not taken:
            raise BlockingIOError
        self.buffer += taken
        return len(taken)

    def write(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > BUFFER_BYTES and not self.is_paused:
            self.is_paused = True
            self.audience.pause(self)

    def read(self) -> None:
        self.received += self.buffer
        self.buffer = b""
        if self.is_paused:
            self.is_paused = False
            self.audience.resume(self)

    def messages(self) -> list[model.ViewerMessage]:
        return sse_messages(self.received + self.buffer)

    def unread_bytes(self) -> int:
        return len(self.buffer)

    def say_goodbye(self, reason: model.GoodbyeReason) -> None:
        self.goodbye = reason

    def abort(self) -> None:
        self.is_aborted = True


class House:
    """An audience with its history, and its scheduled calls."""

    def __init__(self, max_history_bytes: int = 10**9) -> None:
        self.due: list[tuple[Any, FakeViewer]] = []
        self.connections: dict[int, FakeViewer] = {}
        self.history = History(10**9, max_history_bytes)
        self.audience = Audience(
            self.history,
            heartbeat_ms=HEARTBEAT_MS,
            slow_viewer_timeout_ms=SLOW_MS,
            max_ahead_ms=AHEAD_MS,
            replay_chunk_bytes=CHUNK_BYTES,
            send=lambda descriptor, data: self.connections[descriptor].send(data),
            soon=lambda function, argument: self.due.append((function, argument)),
        )

    def publish(self, stream: str, *sequences: int, now_ms: int = 0) -> None:
        for sequence in sequences:
            record = entry(stream, sequence)
            self.audience.publish(record, {"🔥": sequence}, now_ms)

    def join(self, last_id: str | None = None, leaves_at: int | None = None) -> FakeViewer:
        viewer = FakeViewer(self.audience, model.parse_message_id(last_id or ""))
        self.connections[viewer.descriptor] = viewer
        self.audience.join(viewer, b"", last_id, leaves_at)
        return viewer

    def run_due(self) -> None:
        while self.due:
            function, argument = self.due.pop(0)
            function(argument)


def seen(viewer: FakeViewer) -> list[str]:
    return [f"{message.__struct_config__.tag} {getattr(message, 'id', '')}" for message in viewer.messages()]


@pytest.fixture
def house() -> House:
    house = House()
    house.publish("s", 1, 2, 3)
    return house


def test_a_new_viewer_gets_a_snapshot_and_then_each_swarm(house: House) -> None:
    viewer = house.join()
    house.publish("s", 4, 5)
    assert seen(viewer) == ["snapshot s-3", "swarm s-4", "swarm s-5"]


def test_a_viewer_that_has_the_descriptor_of_one_that_is_gone_is_not_forgotten_with_it(house: House) -> None:
    gone = house.join()
    house.audience.leave(gone)
    viewer = FakeViewer(house.audience, None)
    viewer.descriptor = gone.descriptor
    house.connections[viewer.descriptor] = viewer
    house.audience.join(viewer, b"", None)
    house.audience.leave(gone)
    house.publish("s", 4)
    assert seen(viewer) == ["snapshot s-3", "swarm s-4"]


def test_a_viewer_that_comes_back_gets_what_it_missed(house: House) -> None:
    viewer = house.join("s-1")
    house.publish("s", 4)
    house.run_due()
    assert seen(viewer) == ["swarm s-2", "swarm s-3", "swarm s-4"]


@pytest.mark.parametrize("last_id", ["other-2", "nonsense", "s-", "-1"])
def test_an_id_that_means_nothing_here_gets_a_reset(house: House, last_id: str) -> None:
    viewer = house.join(last_id)
    house.publish("s", 4)
    assert seen(viewer) == ["reset s-3", "swarm s-4"]


def test_a_viewer_that_is_ahead_waits_without_a_repeat(house: House) -> None:
    viewer = house.join("s-5")
    house.publish("s", 4, 5)
    assert seen(viewer) == []
    assert not house.due
    house.publish("s", 6, 7)
    assert seen(viewer) == ["swarm s-6", "swarm s-7"]


def test_a_viewer_that_waits_too_long_for_what_it_has_seen_gets_a_reset(house: House) -> None:
    viewer = house.join("s-5")
    house.audience.sweep(7_000)
    house.publish("s", 4, now_ms=16_999)
    house.audience.sweep(16_999)
    assert seen(viewer) == []
    house.audience.sweep(17_000)
    house.publish("s", 5)
    assert seen(viewer) == ["reset s-4", "swarm s-5"]


def test_a_viewer_of_a_future_that_cannot_come_soon_gets_a_reset_at_once(house: House) -> None:
    near, far = house.join("s-43"), house.join("s-44")
    assert seen(near) == []
    assert seen(far) == ["reset s-3"]
    house.publish("s", 4)
    assert seen(far) == ["reset s-3", "swarm s-4"]
    assert seen(near) == []


def test_a_repeat_reaches_nobody(house: House) -> None:
    viewer = house.join()
    house.publish("s", 4, 3, 4)
    assert seen(viewer) == ["snapshot s-3", "swarm s-4"]


@pytest.mark.parametrize(("stream", "sequence"), [("s", 9), ("t", 1)])
def test_a_gap_or_a_new_stream_resets_everybody(house: House, stream: str, sequence: int) -> None:
    live, ahead = house.join(), house.join("s-6")
    house.publish(stream, sequence, sequence + 1)
    expected = [f"reset {stream}-{sequence}", f"swarm {stream}-{sequence + 1}"]
    assert seen(live) == ["snapshot s-3", *expected]
    assert seen(ahead) == expected


def test_who_has_seen_what_was_lost_here_needs_no_reset(house: House) -> None:
    ahead = house.join("s-8")
    house.publish("s", 9)
    assert seen(ahead) == ["swarm s-9"]


def test_a_slow_viewer_holds_up_nobody_and_misses_nothing(house: House) -> None:
    slow, quick = house.join(), house.join()
    for sequence in range(4, 24):
        house.publish("s", sequence)
        quick.read()
    assert len(seen(quick)) == 21
    assert len(seen(slow)) < 10
    while slow.buffer:
        slow.read()
        house.run_due()
    assert seen(slow) == seen(quick)
    house.publish("s", 24)
    assert seen(slow)[-1] == "swarm s-24"


def test_a_slow_viewer_whose_history_has_gone_skips_ahead_with_a_reset() -> None:
    house = House(max_history_bytes=2 * entry("s", 1).size_bytes)
    house.publish("s", 1)
    slow = house.join()
    house.publish("s", *range(2, 40))
    while slow.buffer:
        slow.read()
        house.run_due()
    house.publish("s", 40)
    assert seen(slow)[-2:] == ["reset s-39", "swarm s-40"]


def test_a_viewer_that_reads_nothing_is_closed_as_slow_and_then_cut(house: House) -> None:
    stuck = house.join()
    house.publish("s", *range(4, 24))
    house.audience.sweep(1_000)
    house.audience.sweep(1_000 + SLOW_MS - 1)
    assert stuck.goodbye is None
    house.audience.sweep(1_000 + SLOW_MS)
    assert stuck.goodbye == "slow"
    assert len(house.audience) == 1
    house.audience.sweep(1_000 + SLOW_MS + 60_000)
    assert stuck.is_aborted
    assert len(house.audience) == 0


def test_a_viewer_that_reads_a_little_is_not_closed(house: House) -> None:
    slow = house.join()
    house.publish("s", *range(4, 24))
    for now_ms in range(0, 10 * SLOW_MS, SLOW_MS - 1):
        slow.buffer = slow.buffer[10:]
        house.audience.sweep(now_ms)
    assert slow.goodbye is None


def test_heartbeats_come_in_silence_only(house: House) -> None:
    live, ahead = house.join(), house.join("s-9")
    house.audience.sweep(0)
    house.publish("s", 4, now_ms=900)
    for viewer in (live, ahead):
        viewer.read()
        viewer.received = b""
    house.audience.sweep(1_000)
    assert live.buffer == b""
    assert ahead.buffer == frames.HEARTBEAT.sse
    house.audience.sweep(1_900)
    assert live.buffer == frames.HEARTBEAT.sse


def test_each_viewer_gets_the_heartbeat_that_it_asked_for(house: House) -> None:
    asking, asking_ahead, other = house.join(), house.join("s-9"), house.join()
    for viewer in (asking, asking_ahead):
        viewer.heartbeat = frames.VISIBLE_HEARTBEAT.sse
    for viewer in (asking, asking_ahead, other):
        viewer.read()
    house.audience.sweep(10 * HEARTBEAT_MS)
    assert asking.buffer == asking_ahead.buffer == frames.VISIBLE_HEARTBEAT.sse
    assert other.buffer == frames.HEARTBEAT.sse


def test_who_was_told_goodbye_gets_nothing_more(house: House) -> None:
    viewer = house.join()
    house.audience.dismiss(viewer, "draining", 0)
    house.publish("s", 4)
    house.run_due()
    assert seen(viewer) == ["snapshot s-3"]
    house.audience.leave(viewer)
    assert len(house.audience) == 0


def test_a_long_replay_lets_others_have_their_turn(house: House) -> None:
    house.publish("s", *range(4, 30))
    viewer = house.join("s-3")
    assert 0 < len(seen(viewer)) < 5
    assert house.due or viewer.is_paused


class Audiences(RuleBasedStateMachine):
    """Two subscribers read one log at their own pace, and viewers join, stall, leave, and resume at either."""

    viewers: Bundle[FakeViewer] = Bundle("viewers")

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, int]] = [("stream000", 0)]
        self.houses = [House(), House(max_history_bytes=3 * entry("stream000", 0).size_bytes)]
        self.read_up_to = [0, 0]
        self.everybody: dict[FakeViewer, House] = {}
        self.now_ms = 0
        for number in (0, 1):
            self.deliver(number, 1, 0)

    @rule()
    def a_new_stream_begins(self) -> None:
        number = int(self.log[-1][0].removeprefix("stream")) + 1
        self.log.append((f"stream{number:03}", 0))

    @rule(number=st.sampled_from((0, 1)), count=st.integers(1, 8), skipped=st.sampled_from((0, 0, 0, 0, 2)))
    def deliver(self, number: int, count: int, skipped: int) -> None:
        """The next swarms reach a subscriber. Sometimes some before them are lost."""
        first = self.read_up_to[number] + skipped
        self.read_up_to[number] = first + count
        while len(self.log) < first + count:
            stream, sequence = self.log[-1]
            self.log.append((stream, sequence + 1))
        for stream, sequence in self.log[first : first + count]:
            self.houses[number].publish(stream, sequence, now_ms=self.now_ms)

    @rule(number=st.sampled_from((0, 1)), back=st.integers(0, 4))
    def deliver_again(self, number: int, back: int) -> None:
        state = self.houses[number].history.state
        assert state is not None
        if state.sequence >= back:
            self.houses[number].publish(state.stream, state.sequence - back)

    @rule(number=st.sampled_from((0, 1)), target=viewers)
    def join(self, number: int) -> FakeViewer:
        return self._joined(number, None)

    @rule(number=st.sampled_from((0, 1)), back=st.integers(1, 10), target=viewers)
    def come_back(self, number: int, back: int) -> FakeViewer:
        """A viewer of a third subscriber joins, with its position there."""
        return self._joined(number, self.log[-min(back, len(self.log))])

    @rule(number=st.sampled_from((0, 1)), viewer=consumes(viewers), target=viewers)
    def resume(self, number: int, viewer: FakeViewer) -> FakeViewer:
        """A viewer loses its connection and unread data, and resumes at either subscriber."""
        viewer.audience.leave(viewer)
        viewer.buffer = b""
        del self.everybody[viewer]
        return self._joined(number, reached(viewer))

    @rule(viewer=viewers)
    def read(self, viewer: FakeViewer) -> None:
        viewer.read()

    @rule(number=st.sampled_from((0, 1)))
    def run_one_due(self, number: int) -> None:
        if self.houses[number].due:
            function, argument = self.houses[number].due.pop(0)
            function(argument)

    @rule(milliseconds=st.integers(1, SLOW_MS - 1))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        for house in self.houses:
            house.audience.sweep(self.now_ms)

    @invariant()
    def buffers_are_bounded(self) -> None:
        largest_frame = 300
        assert all(len(viewer.buffer) <= BUFFER_BYTES + CHUNK_BYTES + largest_frame for viewer in self.everybody)

    def teardown(self) -> None:
        """Once all have read everything, each viewer is where its subscriber is, or waits for it."""
        for viewer, house in self.everybody.items():
            # Each turn of a replay gives the viewer at least one swarm.
            for _ in range(2 * len(self.log)):
                viewer.read()
                if house.due:
                    function, argument = house.due.pop(0)
                    function(argument)
            state = house.history.state
            assert state is not None
            if viewer.goodbye is None and reached(viewer) != state.position:
                assert viewer.start is not None
                assert reached(viewer) == viewer.start > state.position

    def _joined(self, number: int, position: Position | None) -> FakeViewer:
        house = self.houses[number]
        viewer = house.join(model.message_id(*position) if position is not None else None)
        self.everybody[viewer] = house
        return viewer


def reached(viewer: FakeViewer) -> Position | None:
    """The position of a client that has read all of this. Fails on a gap or a repeat."""
    position = viewer.start
    for message in sse_messages(viewer.received):
        assert not isinstance(message, model.Goodbye)
        here = model.parse_message_id(message.id)
        assert here is not None
        if isinstance(message, model.Swarm):
            assert position is not None
            assert here == (position[0], position[1] + 1)
        elif isinstance(message, model.Snapshot):
            assert position is None
        position = here
    return position


TestAudiences = Audiences.TestCase
TestAudiences.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
