"""Tests that no reaction is lost or counted twice, and that every process recovers, after bursts of faults."""

from pathlib import Path

import msgspec
import pytest

from emostream_lab.chaos import run
from emostream_lab.chaos.report import Report
from tests.conftest import FAULTS

SEED = 1


@pytest.mark.faults
@pytest.mark.spark
@pytest.mark.timeout(1_200)
def test_each_accepted_reaction_is_counted_once_and_seen_by_all_whatever_breaks(tmp_path: Path) -> None:
    layout = run.layout_in(tmp_path / "chaos")
    status = run.run(SEED, FAULTS, layout)
    found = msgspec.json.decode((layout.directory / "report.json").read_bytes(), type=Report)
    assert found.problems == []
    assert status == 0
    assert sum(line.recovered for line in found.lines) == FAULTS
    assert found.crowd is not None
    assert found.crowd.is_exact
    assert len(found.crowd.events) > 3
    assert any(" close chaos-" in line for line in found.timeline)
