"""Changes the running HAProxy through its runtime socket.

    runtime.py SOCKET put-certificate FILE
    runtime.py SOCKET drain BACKEND/SERVER
    runtime.py SOCKET ready BACKEND/SERVER

`put-certificate` gives it the certificate of a file, and prints `changed`, unless it has that one already. A reload
would do as well, but it leaves an old process behind for as long as its streams live.

`drain` takes a server out, and returns when no request is at the server any more. Its new ones go to the others, unless
there is no other. `ready` puts it back. What HAProxy does not know, or a HAProxy that does not run, sends it nothing
anyway.
"""

import contextlib
import csv
import hashlib
import socket
import ssl
import sys
import time

_CERTIFICATE_BEGIN, _CERTIFICATE_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
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


def put_certificate(path: str, file: str) -> None:
    # An empty line would end what is sent.
    with open(file, encoding="ascii") as opened:
        content = "".join(line for line in opened if line.strip())
    first = content[content.index(_CERTIFICATE_BEGIN) : content.index(_CERTIFICATE_END) + len(_CERTIFICATE_END)]
    fingerprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(first), usedforsecurity=False).hexdigest().upper()
    if fingerprint in say(path, f"show ssl cert {file}"):
        return
    say(path, f"set ssl cert {file} <<\n{content}")
    answer = say(path, f"commit ssl cert {file}")
    if "Success!" not in answer:
        say(path, f"abort ssl cert {file}")
        sys.exit(f"HAProxy does not take {file}: {answer}")
    print("changed")


def set_state(path: str, state: str, name: str) -> None:
    backend, _, server = name.partition("/")
    # Not there, or nobody listens.
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if server not in servers(path, backend):
            return
        if state == "drain":
            drain(path, backend, server)
        else:
            say(path, f"set server {name} state ready")


def main(path: str, command: str, operand: str) -> None:
    if command == "put-certificate":
        put_certificate(path, operand)
    else:
        set_state(path, command, operand)


if __name__ == "__main__":
    main(*sys.argv[1:])
