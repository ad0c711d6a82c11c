"""Encodes messages as bytes for SSE and WebSocket. Each message is encoded once, and all viewers share the bytes."""

from typing import NamedTuple

from websockets.frames import Close, Frame, Opcode

from emostream import model


class Frames(NamedTuple):
    """One message, encoded for both kinds of viewer. A viewer's `kind` is an index into this tuple."""

    sse: bytes
    ws: bytes


SSE, WS = range(2)
KINDS = Frames._fields
_FINAL_TEXT = 0x80 | Opcode.TEXT


def of(message: model.StreamMessage) -> Frames:
    """Encode a message as an SSE event, which is named by the message's type, and as a WebSocket text frame."""
    data = model.encode(message)
    kind = message.__struct_config__.tag
    message_id = getattr(message, "id", None)
    id_line = f"id: {message_id}\n" if message_id is not None else ""
    return Frames(
        sse=f"event: {kind}\n{id_line}data: ".encode() + data + b"\n\n",
        ws=_text_frame(data),
    )


def _text_frame(data: bytes) -> bytes:
    """Encode a WebSocket text frame. Each record makes one for each event, and websockets takes far longer."""
    size = len(data)
    if size < 126:
        return bytes((_FINAL_TEXT, size)) + data
    if size < 1 << 16:
        return bytes((_FINAL_TEXT, 126)) + size.to_bytes(2) + data
    return bytes((_FINAL_TEXT, 127)) + size.to_bytes(8) + data


# Sent to a viewer after a silence, so that proxies do not close the connection. Clients do not show it.
HEARTBEAT = Frames(sse=b":\n\n", ws=Frame(Opcode.PING, b"").serialize(mask=False))
# The heartbeat for a viewer that asks for visible ones, because JavaScript cannot see SSE comments or WebSocket pings.
VISIBLE_HEARTBEAT = of(model.Heartbeat())


def close(code: int, reason: str) -> bytes:
    """Encode a WebSocket close frame."""
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def retry(delay_ms: int) -> bytes:
    """Encode the SSE field that tells a browser how long to wait before it connects again."""
    return b"retry: %d\n\n" % delay_ms
