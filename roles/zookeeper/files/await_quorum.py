"""Prints the mode of the server at this address (such as `leader`) once it serves: await_quorum.py ADDRESS PORT.

An open port is not enough: a server without a quorum has one too, but its answer has no mode. While the server starts,
the connection may hang.
"""

import contextlib
import os
import socket
import ssl
import sys
import time


def mode(address: str, port: int) -> str:
    """Return its mode; empty if it has none."""
    with contextlib.ExitStack() as cleanup:
        connection = cleanup.enter_context(socket.create_connection((address, port), timeout=2))
        if ca_file := os.environ.get("EMOSTREAM_TLS_CA_FILE"):
            context = ssl.create_default_context(cafile=ca_file)
            context.load_cert_chain(os.environ["EMOSTREAM_TLS_IDENTITY_FILE"])
            connection = cleanup.enter_context(context.wrap_socket(connection, server_hostname=address))
        connection.sendall(b"srvr")
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    return answer.partition("\nMode: ")[2].partition("\n")[0]


while True:
    with contextlib.suppress(OSError):
        if found := mode(sys.argv[1], int(sys.argv[2])):
            print(found)
            break
    time.sleep(0.2)
