"""A run sends at the rate of its shape, and gives each event its share."""

from collections import Counter
from itertools import islice
from random import Random

import pytest

from emostream_lab.audience.shapes import Audience
from emostream_lab.load.run import Run


def test_the_rate_follows_the_shape_from_the_start_of_the_run() -> None:
    run = Run(Audience(2, 10, 60), "steady", started_seconds=1_000)
    assert [run.reactions_per_second(at) for at in (999, 1_000, 1_059, 1_060)] == [0, 10, 10, 0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("share_of_first", "viewers", "of_first", "of_each_other"),
    [(None, 9, {3}, {3}), (None, 10, {3, 4}, {3, 4}), (0.9, 60, {54}, {3}), (0.9, 65, {58, 59}, {3, 4})],
)
def test_each_event_gets_its_share_of_the_viewers(
    seed: int, share_of_first: float | None, viewers: int, of_first: set[int], of_each_other: set[int]
) -> None:
    run = Run(Audience(viewers, 10, 60), "steady", 0, ["main", "one", "two"], share_of_first)
    dealt = Counter(part.event for part in islice(run.parts_of_viewers(Random(seed)), viewers))
    assert dealt["main"] in of_first
    assert {dealt["one"], dealt["two"]} <= of_each_other


def test_each_event_gets_its_share_of_the_reactions() -> None:
    even = Run(Audience(1, 1, 60), "steady", 0, ["main", "one"])
    assert even.cumulative_shares == [0.5, 1]
    uneven = Run(Audience(1, 1, 60), "steady", 0, ["main", "one", "two"], 0.5)
    assert uneven.cumulative_shares == [0.5, 0.75, 1]


def test_only_events_of_different_size_are_reported_apart() -> None:
    even = Run(Audience(1, 1, 60), "steady", 0, ["main", "one"])
    assert {even.group_of(part) for part in even.parts} == {""}
    uneven = Run(Audience(1, 1, 60), "steady", 0, ["main", "one"], 0.5)
    assert [uneven.group_of(part) for part in uneven.parts] == ["main", "the other events"]
    alone = Run(Audience(1, 1, 60), "steady", 0, ["main"], 0.5)
    assert alone.group_of(alone.parts[0]) == ""


def test_all_have_come_when_the_shape_says_so() -> None:
    assert Run(Audience(1_000, 1, 60), "steady", 500).seated_seconds == 510
