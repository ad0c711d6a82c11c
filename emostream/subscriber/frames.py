"""Messages as bytes on the wire: made once for each message, then shared by all viewers that get it."""

from typing import NamedTuple

from websockets.frames import Close, CloseCode, Frame, Opcode

from emostream import model


class Frames(NamedTuple):
    """One message for either kind of viewer; a viewer's `kind` is its index here."""

    sse: bytes
    ws: bytes


SSE, WS = range(2)
KINDS = Frames._fields


def of(message: model.ViewerMessage | model.SignOfLife) -> Frames:
    """The message as an SSE event named by its type, and as a WebSocket text frame."""
    data = model.encode(message)
    kind = message.__struct_config__.tag
    message_id = getattr(message, "id", None)
    id_line = f"id: {message_id}\n" if message_id is not None else ""
    return Frames(
        sse=f"event: {kind}\n{id_line}data: ".encode() + data + b"\n\n",
        ws=Frame(Opcode.TEXT, data).serialize(mask=False),
    )


# What a viewer gets after a silence: it keeps proxies from closing the connection, and no client shows it.
HEARTBEAT = Frames(sse=b":\n\n", ws=Frame(Opcode.PING, b"").serialize(mask=False))
# The same for a viewer that asks for heartbeats that it can see: JavaScript sees no comment and no ping.
VISIBLE_HEARTBEAT = of(model.Heartbeat())


def close(code: CloseCode, reason: str) -> bytes:
    """A WebSocket close frame."""
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def retry(delay_ms: int) -> bytes:
    """The SSE field that tells a browser how long to wait before it connects again."""
    return b"retry: %d\n\n" % delay_ms
