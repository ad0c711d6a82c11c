"""How long a broker that was started is waited for, and when another one may be stopped."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
    with socket.create_server((_HOST, 0)) as server, pytest.raises(broker.BrokerError, match="restart it"):
        broker.wait_until_ready(_HOST, server.getsockname()[1], 1, tmp_path, timeout_seconds=0.1)


def test_a_broker_whose_process_has_ended_is_given_up_at_once(tmp_path: Path) -> None:
    """systemd notices the end of a process only after the command that waits for it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(broker.BrokerError, match="has ended before it was ready"):
        broker.wait_until_ready(_HOST, _free_port(), 1, tmp_path, timeout_seconds=0, pid=ended.pid)


def test_a_broker_whose_process_runs_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server((_HOST, 0)) as server:
        broker.wait_until_ready(_HOST, server.getsockname()[1], 1, tmp_path, timeout_seconds=0, pid=os.getpid())


def _cluster(*in_sync: set[int], brokers: frozenset[int] = frozenset({1, 2, 3})) -> broker.Metadata:
    copies = frozenset({1, 2, 3})
    partitions = [broker.Partition(f"reactions/{n}", copies, frozenset(each)) for n, each in enumerate(in_sync)]
    return broker.Metadata(brokers, 1, tuple(partitions), frozenset())


def test_no_broker_is_stopped_while_a_partition_lacks_a_copy() -> None:
    told = iter([_cluster({1, 2, 3}, {1, 3}), _cluster({1, 2, 3}, {1, 2, 3})])
    said: list[str] = []
    broker.wait_until_in_sync(lambda: next(told), 2, 60, said.append)
    assert said == ["1 partitions are under-replicated, such as reactions/1"]


def test_a_broker_that_knows_of_no_topic_yet_is_not_in_sync() -> None:
    told = iter([_cluster(brokers=frozenset()), _cluster({1, 2, 3})])
    said: list[str] = []
    broker.wait_until_in_sync(lambda: next(told), 2, 60, said.append)
    assert said == ["broker 2 is not in the cluster"]


def test_partitions_that_stay_under_replicated_end_the_roll() -> None:
    with pytest.raises(broker.BrokerError, match="2 partitions are under-replicated, such as reactions/0"):
        broker.wait_until_in_sync(lambda: _cluster({1}, {1, 2}), 1, 0)


def test_a_broker_that_does_not_answer_ends_the_roll() -> None:
    with pytest.raises(broker.BrokerError, match="broker 7 does not answer"):
        broker.wait_until_in_sync(lambda: broker.metadata(_HOST, _free_port()), 7, 0)


def test_it_runs_without_our_packages(tmp_path: Path) -> None:
    """A host of a broker has them not, or another release."""
    script = tmp_path / "broker.py"
    script.write_bytes(Path(broker.__file__).read_bytes())
    asked = ["-I", script, "is-controller", "--address", f"{_HOST}:{_free_port()}", "--id", "1"]
    done = subprocess.run([sys.executable, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
