"""Tests that a free port stays free until its server starts."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from emostream_lab.processes import servers

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_twice_in_a_row_of_hundreds() -> None:
    ports = [servers.free_port() for _ in range(400)]
    assert len(set(ports)) == len(ports)


def test_no_two_processes_are_given_the_same_port() -> None:
    code = (
        "import sys; from emostream_lab.processes import servers; "
        "print(*(servers.free_port() for _ in range(1_000)), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with ExitStack() as cleanup:
        given = [{servers.free_port() for _ in range(1_000)}]
        for _ in range(3):
            process = cleanup.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdout is not None
            given.append(set(map(int, process.stdout.readline().split())))
        assert all(given)
        assert len(set().union(*given)) == sum(map(len, given))


def test_a_port_that_is_listened_on_is_not_given() -> None:
    with socket.socket() as listener:
        listener.bind((servers.HOST, servers.free_port()))
        listener.listen()
        taken = listener.getsockname()[1]
        assert taken not in {servers.free_port() for _ in range(1_000)}


def test_no_outgoing_connection_can_take_a_port_that_was_given() -> None:
    first, _ = map(int, _OUTGOING.read_text().split())
    assert max(servers.free_port() for _ in range(1_000)) < first


def test_a_file_of_properties_holds_any_path_as_java_reads_it() -> None:
    assert servers._properties({"dataDir": "/home/zoë/emo stream"}) == "dataDir=/home/zo\\u00eb/emo stream\n"


def test_an_option_of_java_holds_any_path_as_sparks_launcher_reads_it() -> None:
    assert servers._as_java_options({"a": Path("/it's/emo stream"), "b": 1}) == '"-Da=/it\'s/emo stream" "-Db=1"'
