"""Ports for servers that start a while after they were given theirs."""

import socket
from pathlib import Path

from emostream.local import servers

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_twice() -> None:
    ports = [servers.free_port() for _ in range(1_000)]
    assert len(set(ports)) == len(ports)


def test_a_port_that_is_listened_on_is_not_given() -> None:
    with socket.socket() as listener:
        listener.bind((servers.HOST, servers.free_port()))
        listener.listen()
        taken = listener.getsockname()[1]
        assert taken not in {servers.free_port() for _ in range(17_000)}


def test_no_outgoing_connection_can_take_a_port_that_was_given() -> None:
    first, _ = map(int, _OUTGOING.read_text().split())
    assert max(servers.free_port() for _ in range(1_000)) < first


def test_a_file_of_properties_holds_any_path_as_java_reads_it() -> None:
    assert servers._properties({"dataDir": "/home/zoë/emo stream"}) == "dataDir=/home/zo\\u00eb/emo stream\n"
