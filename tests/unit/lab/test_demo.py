"""Tests how the demo handles the signals that stop it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from emostream_lab.demo import stop_signals


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
