"""Tests what the demo refuses, and how it handles the signals that stop it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from emostream.errors import EmoStreamError
from emostream_lab import cli, demo
from emostream_lab.demo import DemoOptions, stop_signals
from emostream_lab.processes.topology import Layout


@contextmanager
def hang_up(handler: signal.Handlers) -> Iterator[None]:
    """Start as a process with this handler of SIGHUP. These tests may themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_is_told_from_other_ends() -> None:
    with stop_signals() as signals:
        assert not signals.received
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.interrupted
        assert not signals.terminated
    with hang_up(signal.SIG_DFL), stop_signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.terminated
        assert not signals.interrupted


def test_a_hang_up_that_nohup_has_ignored_stays_ignored() -> None:
    with hang_up(signal.SIG_IGN), stop_signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not signals.received


@pytest.mark.parametrize("count", ["0", "x", "-1", "1.5", "5000", "9" * 5_000])
def test_a_bad_number_of_events_is_refused_before_anything_starts(
    count: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locustfile.py").touch()
    for command in ("demo", "load"):
        refused = CliRunner().invoke(cli.main, [command], env={"EVENTS": count})
        assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
        assert refused.output.startswith(f"emostream-lab: EVENTS={count} ")
    (tmp_path / "locustfile.py").unlink()
    assert list(tmp_path.iterdir()) == []


def test_events_need_all_tiers(tmp_path: Path) -> None:
    with pytest.raises(EmoStreamError, match="EVENTS needs all tiers"):
        demo.run(DemoOptions(only=("kafka",), events=2), Layout(tmp_path / "demo"))


def test_a_folder_in_which_nothing_can_run_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(EmoStreamError, match="move the checkout"), demo.exclusive_use(tmp_path / "a:b" / "demo"):
        pass
    assert not list(tmp_path.iterdir())
