"""Tests that the live line and the verdict match the figures."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from emostream_lab import cli
from emostream_lab.account import figures
from emostream_lab.account.figures import Figures

GOOD = Figures(
    seconds=60,
    reactions_per_second=1_012,
    accepted=61_234,
    counted=61_234,
    in_flight=0,
    unknown=0,
    refused=0,
    viewers=500,
    swarms=31,
    delivered=15_500,
    p50_ms=1_312,
    p99_ms=2_404,
    is_final=True,
)


def test_figures_reach_the_display_whole(tmp_path: Path) -> None:
    file = tmp_path / "crowd.json"
    assert figures.read(file) is None
    figures.write(file, GOOD)
    assert figures.read(file) == GOOD


def test_the_live_line_shows_the_flow() -> None:
    line = figures.live_line(GOOD)
    for part in ("1,012 reactions/s", "61,234 accepted", "500 viewers", "1.31 s (p99 2.40 s)"):
        assert part in line


def test_an_exact_account_says_so() -> None:
    assert GOOD.is_exact
    assert "counted exactly once" in figures.summary(GOOD)


def test_the_last_line_says_why_an_account_is_not_exact() -> None:
    account = msgspec.structs.replace(GOOD, problems=["2 reactions were lost", "1 swarms came a second time"])
    assert not account.is_exact
    last_line = figures.summary(account).splitlines()[-1]
    assert last_line.startswith("NOT EXACT: 2 reactions were lost; 1 swarms came a second time.")


def test_the_summary_names_the_emoji_that_were_lost() -> None:
    assert "3 (🔥2 🎉1)" in figures.summary(msgspec.structs.replace(GOOD, lost={"🔥": 2, "🎉": 1}))


@pytest.mark.parametrize(
    ("left", "status"), [(GOOD, 0), (msgspec.structs.replace(GOOD, problems=["1 viewers are behind"]), 1)]
)
def test_the_account_that_a_crowd_left_is_printed_and_judged(tmp_path: Path, left: Figures, status: int) -> None:
    figures.write(tmp_path / "crowd.json", left)
    shown = CliRunner().invoke(cli.main, ["account", str(tmp_path / "crowd.json")])
    assert (shown.exit_code, shown.output) == (status, f"{figures.summary(left)}\n")


def test_a_crowd_that_ended_early_left_no_account(tmp_path: Path) -> None:
    file = tmp_path / "crowd.json"
    assert CliRunner().invoke(cli.main, ["account", str(file)]).exit_code == 1
    figures.write(file, msgspec.structs.replace(GOOD, is_final=False))
    assert CliRunner().invoke(cli.main, ["account", str(file)]).exit_code == 1


def test_each_event_has_its_line_and_its_own_verdict() -> None:
    bad = msgspec.structs.replace(GOOD, accepted=7, counted=6, lost={"🔥": 1}, problems=["1 reactions were lost"])
    shown = figures.summary(msgspec.structs.replace(bad, events={"main": GOOD, "final": bad})).splitlines()
    [head] = [line.split() for line in shown if line.strip().startswith("event")]
    assert head == ["event", "accepted", "counted", "lost", "doubled", "unknown", "viewers", "delivered", "p50", "p99"]
    at = [line.split()[0] for line in shown if line].index("event")
    lines = [line.split() for line in shown if line][at + 1 : at + 3]
    assert lines[0] == ["main", "61,234", "61,234", "0", "0", "0", "500", "15,500", "1.31", "s", "2.40", "s", "exact"]
    assert lines[1] == ["final", "7", "6", "1", "0", "0", "500", "15,500", "1.31", "s", "2.40", "s", "NOT", "EXACT"]
