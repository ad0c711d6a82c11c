"""A write with an unknown outcome ends the process at once, because going on could count a batch twice."""

import subprocess
import sys

import pytest

from emostream.aggregator.driver import EXIT_OUTCOME_UNKNOWN

HEAD = """
import time
from emostream.aggregator.driver import outcome_known_within
from emostream.errors import OutcomeUnknownError
"""


@pytest.mark.parametrize(
    ("write", "status"),
    [
        ("pass", 7),
        ("raise OutcomeUnknownError('no acknowledgement')", EXIT_OUTCOME_UNKNOWN),
        ("time.sleep(60)", EXIT_OUTCOME_UNKNOWN),
    ],
)
def test_only_a_write_that_is_known_to_be_there_is_followed_by_anything(write: str, status: int) -> None:
    program = f"{HEAD}\nwith outcome_known_within(0.2):\n    {write}\nraise SystemExit(7)"
    assert subprocess.run([sys.executable, "-c", program], timeout=50, check=False).returncode == status
