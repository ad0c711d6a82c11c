"""Runs `emostream-lab load` as an operator does: on the pipeline that runs, and on one that it starts and cleans up."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emostream_lab.processes import topology
from tests.conftest import with_all_faults
from tests.pipeline import Pipeline

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]


def load(*flags: str, environment: Mapping[str, str]) -> None:
    """Load three events for 15 seconds. All must be exact."""
    command = [sys.executable, "-m", "emostream_lab", "load", *flags, "--shape", "churn", "--viewers", "100"]
    command += ["--reactions", "200", "--for", "15", "--events", "3"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "conservation holds: accepted " in ended.stdout
    assert "100 viewers saw" in ended.stdout
    lines = [line.split() for line in ended.stdout.splitlines() if line.startswith("  ")]
    assert [line[:2] for line in lines if line and line[1:2] == ["accepted"]] == [
        ["main:", "accepted"],
        ["load-2:", "accepted"],
        ["load-3:", "accepted"],
    ]


def test_an_audience_loses_nothing(pipeline: Pipeline) -> None:
    load(environment={**os.environ, **topology.environment(pipeline.layout)})


@pytest.mark.faults
@with_all_faults
def test_an_audience_on_a_pipeline_of_its_own_loses_nothing() -> None:
    load("--own", "true", environment=os.environ)
    assert not list(_processes_below("build/load-stack"))


def _processes_below(folder: str) -> list[str]:
    """Return the command lines of all processes that name this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if folder in line:
                found.append(line)
    return found
