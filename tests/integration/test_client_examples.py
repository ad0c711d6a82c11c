"""The examples of docs/clients.md and of the npm package run on the whole topology."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
JAVASCRIPT = ROOT / "clients" / "javascript"
PAGE = (ROOT / "docs" / "clients.md").read_text()

pytestmark = pytest.mark.spark


def example(language: str) -> str:
    (found,) = re.findall(rf"<!-- example: {language} -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


def run(command: list[str], pipeline: Pipeline, cwd: Path = ROOT) -> str:
    address = pipeline.page.removesuffix("/")
    ran = subprocess.run([*command, address, "main"], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_python_example_sees_its_reaction_counted(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text(example("python"))
    said = run([sys.executable, str(path)], pipeline)
    assert "Live(subscriber='cluster" in said
    assert "Accepted(reactions=1, record=Record(partition=" in said
    assert re.search(r"^swarm \d+ \{.*'🔥': \d+", said, flags=re.MULTILINE)
    assert re.search(r"^totals \{.*'🔥': \d+", said, flags=re.MULTILINE)


def test_the_javascript_example_sees_its_reaction_counted(pipeline: Pipeline) -> None:
    assert example("javascript") == (JAVASCRIPT / "example.js").read_text()
    node = shutil.which("node")
    assert node is not None, "node is not on PATH: `make test-integration` installs it"
    subprocess.run([node, "build.js"], cwd=JAVASCRIPT, check=True)
    said = run([node, "example.js"], pipeline, JAVASCRIPT)
    assert re.search(r"^live cluster\d/\d+", said, flags=re.MULTILINE)
    assert re.search(r"^accepted", said, flags=re.MULTILINE)
    assert re.search(r"^counted by swarm \d+$", said, flags=re.MULTILINE)
