"""Takes a server out of the running HAProxy, or puts it back: set_server.py SOCKET BACKEND/SERVER drain|ready.

`drain` returns when no request is at the server any more. Its new ones go to the others, unless there is no other. What
HAProxy does not know, or a HAProxy that does not run, sends it nothing anyway.
"""

import contextlib
import csv
import socket
import sys
import time

_CHECKED_SECONDS = 5
# Longer than HAProxy waits for an answer.
_DRAIN_SECONDS = 20
_POLL_SECONDS = 0.1


def say(path: str, command: str) -> str:
    """Send a command to HAProxy's runtime socket, and return the answer. Raises OSError if it does not run."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return answer.decode()


def servers(path: str, backend: str) -> dict[str, dict[str, str]]:
    """The statistics of each server of a backend, by its name."""
    lines = say(path, "show stat").removeprefix("# ").splitlines()
    return {
        row["svname"]: row
        for row in csv.DictReader(lines)
        if row["pxname"] == backend and row["svname"] not in {"FRONTEND", "BACKEND"}
    }


def drain(path: str, backend: str, server: str) -> None:
    """Return when it has no request any more. If it is alone it stays: when it stops, it ends what it has by itself."""

    def others() -> dict[str, dict[str, str]]:
        return {name: row for name, row in servers(path, backend).items() if name != server}

    # The one before has just come back, and is asked every second whether it is well.
    deadline = time.monotonic() + _CHECKED_SECONDS
    while others() and not any(row["status"].startswith("UP") for row in others().values()):
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)
    if not others():
        return
    say(path, f"set server {backend}/{server} state drain")
    deadline = time.monotonic() + _DRAIN_SECONDS
    while int(servers(path, backend)[server]["scur"]) > 0 and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def main(path: str, name: str, state: str) -> None:
    backend, _, server = name.partition("/")
    # Not there, or nobody listens.
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if server not in servers(path, backend):
            return
        if state == "drain":
            drain(path, backend, server)
        else:
            say(path, f"set server {name} state ready")


if __name__ == "__main__":
    main(*sys.argv[1:])
