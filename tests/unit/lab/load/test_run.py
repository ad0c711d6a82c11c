"""A process reports what each of its viewers saw. From this, the judge finds a dropped or doubled swarm."""

from dataclasses import dataclass, field

import pytest

from emostream.client.watcher import Watcher
from emostream.model import Reset, Snapshot, Swarm, Window, message_id
from emostream_lab.load.conservation import Count, judge
from emostream_lab.load.run import Run
from emostream_lab.load.shapes import Audience


@dataclass
class Spectator:
    watcher: Watcher = field(default_factory=Watcher)
    is_connected: bool = True
    is_slow: bool = False


def swarm(sequence: int, count: int = 3) -> Swarm:
    total = (sequence - 10) * 3
    return Swarm(
        message_id("s", sequence), sequence, Window(0, 1), count, {"🔥": count}, {"🔥": 1}, {"🔥": total - 3 + count}
    )


@pytest.fixture
def run() -> Run:
    return Run(Audience(2, 10, 60), "steady", started_seconds=1_000)


def watch(run: Run, *sequences: int) -> Spectator:
    """Add a viewer to the run. It gets a snapshot with sequence number 10, and then these swarms."""
    spectator = Spectator()
    spectator.watcher.take(Snapshot(message_id("s", 10), 10, {}))
    for sequence in sequences:
        spectator.watcher.take(swarm(sequence))
        run.seen(swarm(sequence), 1_010 + sequence, 1_000)
    run.spectators.append(spectator)
    return spectator


def problems(run: Run, last: int = 14) -> list[str]:
    run.accepted.update({"🔥": 12})
    return judge([run.report("w", last, 0)], Count({"🔥": 12}, {"🔥": 12})).problems


def test_viewers_that_saw_all_are_no_problem(run: Run) -> None:
    watch(run, 11, 12, 13, 14)
    watch(run, 11, 12, 13, 14)
    assert problems(run) == []


def test_a_swarm_dropped_on_purpose_is_found(run: Run) -> None:
    watch(run, 11, 12, 13, 14)
    watch(run, 11, 13, 14)
    assert "after one that never came" in problems(run)[0]


def test_a_swarm_doubled_on_purpose_is_found(run: Run) -> None:
    watch(run, 11, 12, 12, 13, 14)
    assert problems(run) == ["1 swarms came a second time"]


def test_a_swarm_that_differs_is_found(run: Run) -> None:
    watch(run, 11, 12, 13, 14)
    run.seen(swarm(12, count=4), 1_030, 1_000)
    assert problems(run) == ["1 swarms were not the same for all viewers"]


def test_a_viewer_that_stays_behind_is_found_unless_it_left(run: Run) -> None:
    watch(run, 11, 12, 13, 14)
    late = watch(run, 11, 12, 13)
    assert problems(run) == ["1 viewers were connected to the end and did not get the last swarm"]
    run.accepted.clear()
    late.is_connected = False
    assert problems(run) == []


def test_only_a_viewer_that_does_not_read_may_be_reset(run: Run) -> None:
    spectator = watch(run, 11)
    spectator.watcher.take(Reset(message_id("s", 14), 14, {}))
    spectator.is_slow = True
    assert problems(run) == []
    run.accepted.clear()
    spectator.is_slow = False
    assert problems(run) == ["1 times a viewer was told that it had missed swarms"]


def test_a_replay_tells_nothing_of_how_long_a_swarm_takes(run: Run) -> None:
    assert run.seen(swarm(11), came_seconds=1_011, opened_seconds=1_000)
    assert run.seen(swarm(11), came_seconds=1_012, opened_seconds=1_010)
    assert not run.seen(swarm(11), came_seconds=1_030, opened_seconds=1_029)
    assert run.end_to_end.arrivals(11) == [1_011, 1_012]


def test_the_rate_follows_the_shape_from_the_start_of_the_run(run: Run) -> None:
    assert [run.reactions_per_second(at) for at in (999, 1_000, 1_059, 1_060)] == [0, 10, 10, 0]
