"""How long a broker that was started is waited for."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream.operate import broker

_HOST = "127.0.0.1"


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as server:
        return int(server.getsockname()[1])


def test_a_broker_that_does_not_answer_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, servers, tries = _free_port(), [], 0
    connect = socket.create_connection

    def answers_at_the_third_try(*arguments: object, **options: object) -> socket.socket:
        nonlocal tries
        tries += 1
        if tries == 3:
            servers.append(socket.create_server((_HOST, port)))
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", answers_at_the_third_try)
    # It has no time at all, once it answers, and needs none.
    broker.wait_until_ready(_HOST, port, 1, tmp_path, timeout_seconds=0)
    assert tries == 3
    servers[0].close()


def test_a_broker_that_answers_and_is_never_ready_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "__transaction_state-0").mkdir()
    # It takes connections, and says nothing.
    with socket.create_server((_HOST, 0)) as server, pytest.raises(EmoStreamError, match="restart it"):
        broker.wait_until_ready(_HOST, server.getsockname()[1], 1, tmp_path, timeout_seconds=0.1)


def test_a_broker_whose_process_has_ended_is_given_up_at_once(tmp_path: Path) -> None:
    """systemd notices the end of a process only after the command that waits for it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(EmoStreamError, match="has ended before it was ready"):
        broker.wait_until_ready(_HOST, _free_port(), 1, tmp_path, timeout_seconds=0, pid=ended.pid)


def test_a_broker_whose_process_runs_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server((_HOST, 0)) as server:
        broker.wait_until_ready(_HOST, server.getsockname()[1], 1, tmp_path, timeout_seconds=0, pid=os.getpid())
