"""Tests that the resources of a process include its children, and that too many of them are reported."""

import os
from pathlib import Path

import pytest

from emostream_lab.chaos import growth
from emostream_lab.chaos.growth import Growth, Held
from emostream_lab.processes.process import Process
from emostream_lab.processes.topology import Part


@pytest.fixture
def sleeper(tmp_path: Path) -> Part:
    return Part("registry", Process("registry", ["sleep", "1000"], log_file=tmp_path / "log"))


def test_what_is_held_is_within_bounds_or_said(sleeper: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Growth([sleeper], tmp_path)
    sleeper.process.start()
    try:
        found.look()
        assert found.most["registry"].threads == 1
        assert found.problems() == []
        monkeypatch.setitem(growth.LIMITS, "registry", Held(rss_mib=300, files=0, threads=1))
        [problem] = found.problems()
        assert problem.startswith("registry held")
    finally:
        sleeper.process.stop()


def test_the_most_of_each_is_kept() -> None:
    assert Held(1, 20, 3).most(Held(10, 2, 3)) == Held(10, 20, 3)


def test_a_checkpoint_that_grows_is_a_problem(tmp_path: Path) -> None:
    checkpoint = tmp_path / "aggregator-standby" / "checkpoints" / "x"
    checkpoint.mkdir(parents=True)
    found = Growth([], tmp_path)
    with (checkpoint / "big").open("wb") as file:
        os.truncate(file.fileno(), growth.CHECKPOINT_LIMIT_BYTES + 1)
    found.look()
    [problem] = found.problems()
    assert "checkpoint" in problem
