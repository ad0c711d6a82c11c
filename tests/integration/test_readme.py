"""Each curl line of the README works as pasted, against the whole topology."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from emostream_lab.processes.topology import Layout
from tests.pipeline import Pipeline

README = Path(__file__).parents[2] / "README.md"
CURL_TIMED_OUT = 28

BLOCKS = [block for block in re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.DOTALL) if "curl" in block]

pytestmark = pytest.mark.spark


def test_the_readme_has_curl_lines() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_of_curl_lines_works_as_pasted(pipeline: Pipeline, tmp_path: Path, block: str) -> None:
    # With this file curl fails on an answer of 400 or more.
    (tmp_path / ".curlrc").write_text("fail\n")
    script = f"set -euo pipefail\n{_with_ports(block, pipeline.layout)}"
    # A stream never ends by itself, so curl's time-out is expected.
    good = {CURL_TIMED_OUT} if "--max-time" in block else {0}
    environment = {**os.environ, "CURL_HOME": str(tmp_path)}
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode in good, ended.stdout + ended.stderr
    assert ended.stdout.strip()


def _with_ports(block: str, layout: Layout) -> str:
    ports = layout.ports
    used = {8000: ports.ingest, 8001: ports.registry, 9001: ports.subscribers[0][0], 8010: ports.ingest_admin}
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{used[int(found[1])]}", block)
