"""No command ends with a traceback because of its output, whatever the encoding."""

import os
import subprocess
import sys
from pathlib import Path

from emostream_lab.account import figures
from emostream_lab.account.figures import Figures

WRONG = Figures(
    seconds=1.0,
    reactions_per_second=1.0,
    accepted=3,
    counted=0,
    in_flight=0,
    unknown=0,
    refused=0,
    viewers=1,
    swarms=0,
    delivered=0,
    p50_ms=None,
    p99_ms=None,
    lost={"🔥": 3},
    problems=["3 reactions were lost: accepted and never counted: 🔥 3"],
    is_final=True,
)


def test_an_account_is_printed_where_emoji_cannot_be(tmp_path: Path) -> None:
    figures.write(tmp_path / "account", WRONG)
    found = subprocess.run(
        [sys.executable, "-m", "emostream_lab", "account", str(tmp_path / "account")],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert found.stderr == b""
    assert b"3 (?3)" in found.stdout
    assert found.returncode == 1
