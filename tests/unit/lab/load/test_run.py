"""A run sends at the rate of its shape."""

from emostream_lab.audience.shapes import Audience
from emostream_lab.load.run import Run


def test_the_rate_follows_the_shape_from_the_start_of_the_run() -> None:
    run = Run(Audience(2, 10, 60), "steady", started_seconds=1_000)
    assert [run.reactions_per_second(at) for at in (999, 1_000, 1_059, 1_060)] == [0, 10, 10, 0]
