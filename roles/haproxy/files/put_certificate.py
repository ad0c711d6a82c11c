"""Puts the certificate of a file into the running HAProxy, and prints `changed`, unless it has that one already.

    put_certificate.py SOCKET FILE

A reload would do as well, but it leaves an old process behind for as long as its streams live.
"""

import hashlib
import socket
import ssl
import sys

_END = "-----END CERTIFICATE-----"


def say(path: str, command: str) -> str:
    """Send a command to HAProxy's runtime socket, and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return answer.decode()


def main(path: str, file: str) -> None:
    # An empty line would end what is sent.
    with open(file, encoding="ascii") as opened:
        content = "".join(line for line in opened if line.strip())
    first = content[content.index("-----BEGIN CERTIFICATE-----") : content.index(_END) + len(_END)]
    fingerprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(first), usedforsecurity=False).hexdigest().upper()
    if fingerprint in say(path, f"show ssl cert {file}"):
        return
    say(path, f"set ssl cert {file} <<\n{content}")
    answer = say(path, f"commit ssl cert {file}")
    if "Success!" not in answer:
        say(path, f"abort ssl cert {file}")
        sys.exit(f"HAProxy does not take {file}: {answer}")
    print("changed")


if __name__ == "__main__":
    main(*sys.argv[1:])
