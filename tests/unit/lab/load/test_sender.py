"""A sender sends its share of the requests that are due, and nothing else."""

from random import Random
from typing import TYPE_CHECKING, cast

from emostream.client.http1 import Response
from emostream.model import Reaction, decode, encode
from emostream_lab.audience.shapes import Audience
from emostream_lab.load.run import Run, now_seconds
from emostream_lab.load.sender import Portion, Sender

if TYPE_CHECKING:
    from emostream_lab.load.http import Endpoint
    from emostream_lab.load.record import Record


class Ingest:
    """Accepts everything, and keeps what it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def post(self, body: bytes) -> Response:
        self.bodies.append(body)
        answer = {"accepted": 1, "record": {"partition": 0, "offset": len(self.bodies), "timestamp": 0}}
        return Response(202, {}, encode(answer), keeps_alive=True)


class NoRecord:
    def request(self, *_: object, **__: object) -> None:
        pass


def _sent(run: Run, portion: Portion, calls: int) -> int:
    """Return how many requests a sender spawns if it is called repeatedly, as Locust calls a task."""
    spawned: list[float] = []
    unused = cast("tuple[dict[str, Endpoint], Record]", (None, None))
    sender = Sender(run, *unused, portion, Random(7))
    for _ in range(calls):
        sender.send_all(lambda _, due: spawned.append(due))
    return len(spawned)


def test_what_is_due_after_the_end_is_never_sent() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1e-6, seconds=0.2), "steady", now_seconds())
    run.begin_sending()
    assert _sent(run, Portion(share=1, batch=1), calls=10) == 0


def test_what_is_due_when_the_run_stops_is_not_sent_after_it() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1, seconds=60), "steady", now_seconds())
    run.parts[0].palette = ["🔥"]
    run.begin_sending()
    ingest = Ingest()
    endpoints = {"main": cast("Endpoint", ingest)}
    sender = Sender(run, endpoints, cast("Record", NoRecord()), Portion(share=1, batch=1), Random(7))
    sender.send(now_seconds())
    run.stop_sending()
    # Locust began this one before the stop, and had no time for it until now.
    sender.send(now_seconds())
    assert len(ingest.bodies) == 1
    assert run.parts[0].tally.accepted.total() == 1


def test_it_sends_its_share_until_the_end() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=4_000, seconds=0.5), "steady", now_seconds())
    run.begin_sending()
    # Half of 2,000 reactions, 10 in a request, are 100 requests. Five standard deviations are 50.
    assert 50 <= _sent(run, Portion(share=0.5, batch=10), calls=2) <= 150


def test_a_run_that_has_not_begun_is_not_waited_for() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1_000, seconds=60), "steady", now_seconds())
    assert _sent(run, Portion(share=1, batch=1), calls=3) == 0


def test_each_event_gets_its_own_reactions_and_they_are_noted_as_its_own() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1, seconds=60), "steady", now_seconds(), ["main", "final"])
    run.begin_sending()
    run.parts[0].palette, run.parts[1].palette = ["🔥"], ["👏"]
    ingest = {"main": Ingest(), "final": Ingest()}
    given = cast("tuple[dict[str, Endpoint], Record]", (ingest, NoRecord()))
    sender = Sender(run, *given, Portion(share=1, batch=1), Random(7))
    for due in range(100):
        sender.send(float(due))
    for part, emoji in zip(run.parts, "🔥👏", strict=True):
        bodies = ingest[part.event].bodies
        assert {decode(body, Reaction).emoji_type for body in bodies} == {emoji}
        assert part.tally.accepted == {emoji: len(bodies)}
        # Half of 100. Five standard deviations are 25.
        assert 25 <= len(bodies) <= 75
