"""Runs `emostream-lab load` as an operator does: it starts a pipeline, loads it, judges the run and cleans up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.spark


@pytest.mark.timeout(600)
def test_an_audience_on_a_pipeline_of_its_own_loses_nothing() -> None:
    command = [sys.executable, "-m", "emostream_lab", "load", "--own", "true", "--shape", "churn"]
    command += ["--viewers", "100", "--reactions", "200", "--for", "15", "--events", "3"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "conservation holds: accepted " in ended.stdout
    assert "100 viewers saw" in ended.stdout
    lines = [line.split() for line in ended.stdout.splitlines() if line.startswith("  ")]
    assert [line[:2] for line in lines if line and line[1:2] == ["accepted"]] == [
        ["main:", "accepted"],
        ["load-2:", "accepted"],
        ["load-3:", "accepted"],
    ]
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
