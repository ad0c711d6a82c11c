"""A process is ready only once every part has said so."""

import socket
from pathlib import Path

import pytest

from emostream.runtime.readiness import Readiness


def test_a_condition_that_was_never_reported_is_not_met() -> None:
    readiness = Readiness("kafka", "registered")
    readiness.met("kafka")
    assert readiness.reasons() == {"registered": "starting"}
    assert not readiness.is_ready()


def test_it_turns_ready_and_back_with_the_reason() -> None:
    readiness = Readiness("kafka")
    readiness.met("kafka")
    assert readiness.is_ready()
    readiness.not_met("kafka", "no broker answers")
    assert readiness.reasons() == {"kafka": "no broker answers"}


def test_a_condition_nobody_named_is_a_mistake_in_the_program() -> None:
    with pytest.raises(KeyError):
        Readiness("kafka").met("zookeeper")


def test_systemd_hears_what_is_amiss_and_once_all_is_met_that_the_start_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        readiness = Readiness("kafka", "drain")
        readiness.not_met("kafka", "no broker answers")
        assert systemd.recv(200) == b"STATUS=kafka: no broker answers; drain: starting"
        readiness.met("drain")
        assert systemd.recv(200) == b"STATUS=kafka: no broker answers"
        readiness.met("kafka")
        assert systemd.recv(200) == b"READY=1\nSTATUS=ready"
