"""Holds seats of subscribers: `hold_seats.py TOKEN HOST/NUMBER:SEATS ...`. Runs on a host, with its Python alone."""

import signal
import socket
import ssl
import sys

HTTPS_PORT = 443
# The certificate is not checked: nothing secret is sent, and the token ends with the system.
TLS = ssl._create_unverified_context()  # noqa: S323


def hold(host: str, number: str, token: str) -> ssl.SSLSocket:
    """Watch, and read nothing: what comes within minutes fits into the socket's buffer."""
    stream = TLS.wrap_socket(socket.create_connection((host, HTTPS_PORT), timeout=30))
    request = f"GET /subscribers/{number}/v1/stream?access_token={token} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    stream.sendall(request.encode())
    if not stream.recv(64).startswith(b"HTTP/1.1 200 "):
        sys.exit(f"{host} refused a viewer")
    return stream


def main() -> None:
    token, *wanted = sys.argv[1:]
    held = []
    for subscriber in wanted:
        place, _, seats = subscriber.partition(":")
        host, _, number = place.partition("/")
        held += [hold(host, number, token) for _ in range(int(seats))]
    print(f"{len(held)} seats are held", flush=True)
    signal.pause()


main()
