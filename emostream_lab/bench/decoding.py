"""Decodes what a viewer reads of a stream, from the end of some message on."""

import zlib
from collections.abc import Generator

from websockets.frames import Frame
from websockets.streams import StreamReader

from emostream.subscriber.connection import DeflateWebSocketViewer


class Plain:
    """A stream without compression."""

    def decode(self, data: bytes) -> bytes:
        """Return what was read."""
        return data


class Gzipped:
    """A stream in gzip, whose messages end in full flushes."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def decode(self, data: bytes) -> bytes:
        """Return the text of what was read."""
        return self._inflater.decompress(data)


class Deflated:
    """A WebSocket with permessage-deflate, and without context takeover."""

    def __init__(self) -> None:
        self._reader = StreamReader()
        self._frames = self._parse()

    def decode(self, data: bytes) -> bytes:
        """Return the texts of the messages that are complete now, one after the other."""
        self._reader.feed_data(data)
        return b"".join(iter(lambda: next(self._frames), None))

    def _parse(self) -> Generator[bytes | None, None, None]:
        """Yield the text of each message, and None when more must be read first."""
        read, extensions = self._reader.read_exact, DeflateWebSocketViewer.extensions
        while True:
            frame = yield from Frame.parse(read, mask=False, extensions=extensions)
            yield bytes(frame.data)
