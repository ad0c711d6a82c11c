"""The viewers of an event: its sequences, its end, and that no event takes the memory of another one."""

import asyncio
import itertools
import json
from collections.abc import Callable

import pytest

from emostream import model
from emostream.config import SubscriberSettings, TokensSettings
from emostream.events.labels import OTHER
from emostream.events.table import Definition
from emostream.model import EventPart
from emostream.runtime.readiness import Readiness
from emostream.subscriber import metrics
from emostream.subscriber.audience import Audience
from emostream.subscriber.channel import Channel
from emostream.subscriber.http import Request
from emostream.subscriber.server import Server
from emostream.tokens.gate import Gate
from tests.unit.subscriber.examples import entry
from tests.unit.subscriber.test_audience import FakeViewer, House, seen

WINDOW = model.Window(0, 1)


class EventViewer(FakeViewer):
    is_finished = False

    def finish(self) -> None:
        self.is_finished = True


class EventHouse(House):
    """An event's channel, which gets the event's part of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel(self.history, self.audience)

    def take(self, part: EventPart, counted: int = 0) -> None:
        """Take the part of a record that counts `reactions` up to this offset."""
        self.channel.take(part, entry("records", 1, counted=counted), WINDOW, now_ms=0)

    def join(self, last_id: str | None = None) -> EventViewer:
        viewer = EventViewer(self.audience, None)
        self.connections[viewer.descriptor] = viewer
        self.audience.join(viewer, b"", last_id)
        self.run_due()
        return viewer


def part(sequence: int, *, counts: int = 0, ended: bool = False, stream: str = "e1") -> EventPart:
    counted = {"🔥": counts} if counts else {}
    return EventPart(stream, sequence, {"🔥": sequence}, counted, counted, ended)


@pytest.fixture
def house() -> EventHouse:
    house = EventHouse()
    house.take(part(0))
    house.take(part(1, counts=1))
    return house


def test_a_viewer_gets_the_swarms_of_its_event_by_their_own_sequence(house: EventHouse) -> None:
    viewer = house.join()
    # A record without a reaction to the event, and a repeat.
    house.take(part(1))
    house.take(part(2, counts=1))
    house.take(part(2, counts=1))
    assert seen(viewer) == ["snapshot e1-1", "swarm e1-2"]


def test_an_event_without_a_reaction_has_a_state_to_begin_from() -> None:
    house = EventHouse()
    house.take(part(0))
    assert seen(house.join()) == ["snapshot e1-0"]


def test_a_reaction_is_found_from_the_first_swarm_of_its_event_on() -> None:
    house = EventHouse()
    house.take(part(0), counted=10)
    house.take(part(1, counts=1), counted=15)
    # A record without a reaction to the event.
    house.take(part(1), counted=20)
    house.take(part(2, counts=1), counted=25)
    found = {offset: house.history.covering("0", offset) for offset in (9, 10, 14, 20, 25)}
    assert {offset: each and each.sequence for offset, each in found.items()} == {
        9: None,
        10: 1,
        14: 1,
        20: 2,
        25: None,
    }


def test_swarms_that_were_missed_become_a_reset(house: EventHouse) -> None:
    viewer = house.join()
    house.take(part(5))
    assert seen(viewer) == ["snapshot e1-1", "reset e1-5"]


def test_the_end_follows_the_last_swarm_and_each_viewer_is_let_go(house: EventHouse) -> None:
    live, behind = house.join(), house.join("e1-0")
    behind.write(b"x" * 1_000)
    house.take(part(2, ended=True))
    assert seen(live) == ["snapshot e1-1", "end e1-2"]
    assert (live.is_finished, behind.is_finished) == (True, False)
    behind.read()
    house.run_due()
    assert (seen(behind)[-1], behind.is_finished) == ("end e1-2", True)


def test_who_comes_after_the_end_gets_the_final_totals_and_the_end(house: EventHouse) -> None:
    house.take(part(2, ended=True))
    for last_id, expected in [
        (None, ["snapshot e1-1", "end e1-2"]),
        ("e1-0", ["swarm e1-1", "end e1-2"]),
        ("e1-1", ["end e1-2"]),
        ("e1-2", []),
        ("e0-7", ["reset e1-1", "end e1-2"]),
    ]:
        viewer = house.join(last_id)
        assert (seen(viewer), viewer.is_finished) == (expected, True)
        if expected and "swarm" not in expected[0]:
            assert viewer.messages()[-1].totals == {"🔥": 2}


def test_the_end_is_kept_however_old_it_is(house: EventHouse) -> None:
    house.take(part(2, ended=True))
    while house.history.drop_oldest():
        pass
    assert seen(house.join()) == ["snapshot e1-1", "end e1-2"]


def test_what_is_counted_late_ends_anew(house: EventHouse) -> None:
    house.take(part(2, ended=True))
    house.take(part(4, counts=3, ended=True))
    assert seen(house.join("e1-2")) == ["swarm e1-3", "end e1-4"]


def test_an_event_that_is_opened_again_resets_who_comes_back(house: EventHouse) -> None:
    house.take(part(2, ended=True))
    house.take(part(0, stream="e2"))
    viewer = house.join("e1-2")
    house.take(part(1, counts=1, stream="e2"))
    assert (seen(viewer), viewer.is_finished) == (["reset e2-0", "swarm e2-1"], False)


def test_the_rate_is_that_of_the_last_ten_seconds(house: EventHouse) -> None:
    channel = Channel(house.history, house.audience)
    assert channel.reactions_per_second(0) == 0
    for second, total in enumerate([100, 110, 120]):
        channel.count({"🔥": total}, second * 1_000)
    assert channel.reactions_per_second(3_000) == 2
    assert channel.reactions_per_second(60_000) == 0


def on_a_server(check: Callable[[Server], None], **settings: int) -> None:
    async def run() -> None:
        server = Server(SubscriberSettings(**settings), Readiness(), Gate(TokensSettings()))
        server.publish(entry("s", 1), {"🔥": 1}, {"final": part(0)})
        check(server)

    asyncio.run(run())


def viewers_in_metrics() -> dict[str, float]:
    """The viewers over SSE, by the label of the event."""
    (metric,) = metrics.VIEWERS.collect()
    return {each.labels["event"]: each.value for each in metric.samples if each.labels["kind"] == "sse"}


def test_the_metrics_tell_the_viewers_of_each_open_event() -> None:
    def check(server: Server) -> None:
        audience = server.channels["final"].audience
        viewer = FakeViewer(audience, None)
        audience.join(viewer, b"", None)
        assert viewers_in_metrics() == {"main": 0, "final": 1, OTHER: 0}
        server.publish(entry("s", 2), {"🔥": 2}, {"final": part(0), "cup": part(0, stream="e2")})
        assert viewers_in_metrics() == {"main": 0, "final": 1, OTHER: 0}
        audience.leave(viewer)
        server.publish(entry("s", 3), {"🔥": 3}, {"final": part(1, ended=True), "cup": part(0, stream="e2")})
        assert viewers_in_metrics() == {"main": 0, "cup": 0, OTHER: 0}

    on_a_server(check, max_event_labels=1)


def get(server: Server, target: str) -> bytes:
    answer = server.respond(Request("GET", target, "1.1", [("Host", "here")]))
    assert isinstance(answer, bytes), answer
    return answer


def test_an_event_that_is_not_here_is_unknown_or_yet_to_come() -> None:
    def check(server: Server) -> None:
        server.definitions["soon"] = Definition("A match", ("🔥",), "open", "00000000064")
        for event, status in [("unknown", b"404"), ("soon", b"503")]:
            answer = get(server, f"/v1/events/{event}/stream")
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["event"] == event
        for target in ("/v1/events/final/nothing", "/v1/events/final", "/v1/events/"):
            assert get(server, target).startswith(b"HTTP/1.1 404")

    on_a_server(check)


def test_who_has_seen_the_end_is_stopped() -> None:
    def check(server: Server) -> None:
        server.publish(entry("s", 2), {"🔥": 1}, {"final": part(1, ended=True)})
        assert get(server, "/v1/events/final/stream?last_event_id=e1-1").startswith(b"HTTP/1.1 204")

    on_a_server(check)


class TellingViewer(FakeViewer):
    """Tells each write by the name of its event. Its connection takes nothing at once, so the fan-out writes."""

    _no_files = itertools.count(-1, -1)

    def __init__(self, audience: Audience, event: str, written: list[str]) -> None:
        super().__init__(audience, None)
        self.descriptor = next(self._no_files)
        self._event = event
        self._written = written

    def write(self, _: bytes) -> None:
        self._written.append(self._event)


def test_no_audience_waits_for_a_larger_one() -> None:
    def check(server: Server) -> None:
        written: list[str] = []
        server.publish(entry("s", 2), {"🔥": 2}, {"large": part(0), "final": part(0)})
        for event, viewers in (("large", 3), ("main", 2), ("final", 1)):
            audience = server.channels[event].audience
            for _ in range(viewers):
                audience.join(TellingViewer(audience, event, written), b"", None)
        written.clear()
        server.publish(entry("s", 3), {"🔥": 3}, {"large": part(1, counts=1), "final": part(1, counts=1)})
        assert written == ["final", "main", "main", "large", "large", "large"]

    on_a_server(check)


def test_an_archived_event_is_forgotten() -> None:
    def check(server: Server) -> None:
        server.publish(entry("s", 2), {"🔥": 1})
        assert list(server.channels) == ["main"]

    on_a_server(check)


def test_a_large_event_pushes_out_nothing_of_a_small_one() -> None:
    def check(server: Server) -> None:
        large, small, sequence = EventPart("e2", 0, {}), part(1, counts=1), 1
        server.publish(entry("s", 2), {}, {"final": small, "large": large})
        emoji = {chr(0x1F300 + number): 10**9 for number in range(250)}
        for sequence in range(1, 100):
            large = EventPart("e2", sequence, emoji, emoji, emoji)
            server.publish(entry("s", sequence + 2), {}, {"final": small, "large": large})
        histories = {event: channel.history for event, channel in server.channels.items()}
        assert sum(history.size_bytes for history in histories.values()) <= 1 << 20
        assert (len(histories["final"]), len(histories["large"]) > 10) == (1, True)

    on_a_server(check, max_history_bytes=1 << 20)
