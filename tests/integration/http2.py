"""Just enough HTTP/2 to open a WebSocket on one of its streams (RFC 8441), which curl cannot."""

import socket
import ssl

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_HEADERS = 4
# The first entry of an answer's header block, from HPACK's static table: `:status: 200`.
STATUS_200 = 0x88


def websocket(connection: ssl.SSLSocket, host: str, path: str) -> None:
    """Ask for a WebSocket on the first stream."""
    headers = {
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":scheme": "https",
        ":path": path,
        ":authority": host,
        "sec-websocket-version": "13",
    }
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS, 1, block))


def receive(connection: socket.socket, kind: int) -> bytes:
    """The payload of the next frame of this kind. Raises EOFError at the end of the connection."""
    while True:
        head = _exactly(connection, 9)
        payload = _exactly(connection, int.from_bytes(head[:3]))
        if head[3] == kind:
            return payload


def headers(connection: socket.socket) -> bytes:
    return receive(connection, _HEADERS)


def data(connection: socket.socket) -> bytes:
    return receive(connection, _DATA)


def _text(text: str) -> bytes:
    # Without Huffman's code; all are shorter than 127.
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found
