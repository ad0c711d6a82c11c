"""Encodes messages as bytes for SSE and WebSocket: plain or compressed, in full or in the compact form.

All viewers of a kind share the bytes.

Each message is compressed by itself, so that a viewer can begin with any of them. In gzip (RFC 1952) it ends in a full
flush, after which nothing refers to what came before. On a WebSocket no context is taken over (RFC 7692).
"""

import zlib

from websockets.frames import Close, Frame, Opcode

from emostream import model

SSE, WS, SSE_GZIP, WS_DEFLATE = range(4)
FULL, COMPACT = 0, 4
"""Add one of these to a kind above: in `SSE + COMPACT` a swarm is a `CompactSwarm`. All other messages are the same."""

KINDS = tuple(kind + form for form in ("", "_compact") for kind in ("sse", "ws", "sse_gzip", "ws_deflate"))
FORMS = {"full": FULL, "compact": COMPACT}
"""By the name that a viewer asks for."""

GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""What a viewer gets before its first message in gzip: no name, no time, any system. The stream has no trailer."""

_FINAL_TEXT = 0x80 | Opcode.TEXT
_IS_COMPRESSED = 0x40
_SWARM = b"event: swarm\n"
_DATA_END = b"\n\n"
_SYNC_FLUSH_END = b"\0\0\xff\xff"


class Frames:
    """One message, encoded for a kind of viewer once the first of that kind needs it. A viewer's `kind` is an index."""

    __slots__ = ("_encoded", "_start")

    def __init__(self, event: bytes, start: int) -> None:
        """`event` is the message as an SSE event, in which its data begins at `start`."""
        self._encoded: list[bytes | None] = [None] * len(KINDS)
        self._encoded[SSE] = event
        self._start = start

    @property
    def sse(self) -> bytes:
        """The message as an SSE event."""
        return self[SSE]

    @property
    def ws(self) -> bytes:
        """The message as a WebSocket text frame."""
        return self[WS]

    @property
    def most_bytes(self) -> int:
        """What it takes at most, with all encodings: of a compact swarm they are half as long."""
        return 6 * len(self.sse)

    def __getitem__(self, kind: int) -> bytes:
        encoded = self._encoded[kind]
        if encoded is None:
            encoded = self._encoded[kind] = self._encode(kind)
        return encoded

    def _encode(self, kind: int) -> bytes:
        if kind < COMPACT:
            return self._transformed(self.sse, kind)
        if not self.sse.startswith(_SWARM):
            return self[kind - COMPACT]
        if kind == SSE + COMPACT:
            swarm = model.decode_swarm(self.sse[self._start :])
            return self.sse[: self._start] + model.encode(model.CompactSwarm.of(swarm)) + _DATA_END
        return self._transformed(self[SSE + COMPACT], kind - COMPACT)

    def _transformed(self, event: bytes, kind: int) -> bytes:
        if kind == SSE_GZIP:
            return gzipped(event)
        data = event[self._start : -len(_DATA_END)]
        if kind == WS:
            return _websocket_frame(_FINAL_TEXT, data)
        deflated = _deflated(data, zlib.Z_SYNC_FLUSH).removesuffix(_SYNC_FLUSH_END)
        return _websocket_frame(_FINAL_TEXT | _IS_COMPRESSED, deflated)


class _Heartbeat(Frames):
    """Nothing but a sign of life: a comment, or a ping, which no extension compresses."""

    __slots__ = ()

    def _transformed(self, event: bytes, kind: int) -> bytes:
        return gzipped(event) if kind == SSE_GZIP else Frame(Opcode.PING, b"").serialize(mask=False)


def of(message: model.StreamMessage) -> Frames:
    """Encode a message as an SSE event, which is named by the message's type."""
    kind = message.__struct_config__.tag
    message_id = getattr(message, "id", None)
    id_line = f"id: {message_id}\n" if message_id is not None else ""
    head = f"event: {kind}\n{id_line}data: ".encode()
    return Frames(head + model.encode(message) + _DATA_END, len(head))


def gzipped(data: bytes) -> bytes:
    """A part of a gzip stream that can stand after any other part, behind the header."""
    return _deflated(data, zlib.Z_FULL_FLUSH)


def _deflated(data: bytes, flush: int) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(flush)


def _websocket_frame(first_byte: int, data: bytes) -> bytes:
    """Encode a WebSocket frame. Each record makes one for each event, and websockets takes far longer."""
    size = len(data)
    if size < 126:
        return bytes((first_byte, size)) + data
    if size < 1 << 16:
        return bytes((first_byte, 126)) + size.to_bytes(2) + data
    return bytes((first_byte, 127)) + size.to_bytes(8) + data


# Sent to a viewer after a silence, so that proxies do not close the connection. Clients do not show it.
HEARTBEAT = _Heartbeat(b":\n\n", 0)
# The heartbeat for a viewer that asks for visible ones, because JavaScript cannot see SSE comments or WebSocket pings.
VISIBLE_HEARTBEAT = of(model.Heartbeat())


def close(code: int, reason: str) -> bytes:
    """Encode a WebSocket close frame."""
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def retry(delay_ms: int) -> bytes:
    """Encode the SSE field that tells a browser how long to wait before it connects again."""
    return b"retry: %d\n\n" % delay_ms
