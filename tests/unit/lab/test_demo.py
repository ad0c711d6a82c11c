"""Tests how the demo handles the signals that stop it."""

import os
import signal

from emostream_lab.demo import stop_signals


def test_ctrl_c_is_told_from_other_ends() -> None:
    with stop_signals() as signals:
        assert not signals.received
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.interrupted
        assert not signals.terminated
    with stop_signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.terminated
        assert not signals.interrupted


def test_a_hang_up_that_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.received
    finally:
        signal.signal(signal.SIGHUP, before)
