"""A sender sends its share of the requests that are due, and nothing else."""

from random import Random
from typing import TYPE_CHECKING, cast

from emostream_lab.audience.shapes import Audience
from emostream_lab.load.run import Run, now_seconds
from emostream_lab.load.sender import Portion, Sender

if TYPE_CHECKING:
    from emostream_lab.load.http import Endpoint
    from emostream_lab.load.record import Record


def _sent(run: Run, portion: Portion, calls: int) -> int:
    """Return how many requests a sender spawns if it is called repeatedly, as Locust calls a task."""
    spawned: list[float] = []
    unused = cast("tuple[Endpoint, Record]", (None, None))
    sender = Sender(run, *unused, portion, Random(7))
    for _ in range(calls):
        sender.send_all(lambda _, due: spawned.append(due))
    return len(spawned)


def test_what_is_due_after_the_end_is_never_sent() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1e-6, seconds=0.2), "steady", now_seconds())
    run.begin_sending(["🔥"])
    assert _sent(run, Portion(share=1, batch=1), calls=10) == 0


def test_it_sends_its_share_until_the_end() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=4_000, seconds=0.5), "steady", now_seconds())
    run.begin_sending(["🔥"])
    # Half of 2,000 reactions, 10 in a request, are 100 requests. Five standard deviations are 50.
    assert 50 <= _sent(run, Portion(share=0.5, batch=10), calls=2) <= 150


def test_a_run_that_has_not_begun_is_not_waited_for() -> None:
    run = Run(Audience(viewers=0, reactions_per_second=1_000, seconds=60), "steady", now_seconds())
    assert _sent(run, Portion(share=1, batch=1), calls=3) == 0
