"""A parser of server-sent events, as the HTML standard defines them. Pure: no input or output.

It takes bytes in pieces of any size and returns complete events.
"""

import re
from typing import NamedTuple

from emostream.client.errors import StreamLostError

# Twice the largest record of a cluster's topic. A server that sends a larger event is broken.
MAX_EVENT_BYTES = 4 << 20

# A carriage return at the end of the data may be the first half of a CRLF, so it waits for the next byte.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event. `data` is UTF-8. `last_id` is the event's own id, or else the id of the last event that had one."""

    type: str
    data: bytes
    last_id: str


class Parser:
    """Parses one stream from its first byte."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """How long the server asks the client to wait before it connects again. None until the server says so."""
        self._last_id = ""
        self._is_first_line = True
        # The parts of an incomplete event. Past MAX_EVENT_BYTES in total, the stream ends with an error.
        self._rest = b""
        self._type = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Parse a piece of data and return the events that it completes. Raises StreamLostError if one is too large."""
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        events = [event for line in lines if (event := self._take_line(line)) is not None]
        if len(self._rest) + self._data_bytes > MAX_EVENT_BYTES:
            raise StreamLostError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        return events

    def _take_line(self, line: bytes) -> Event | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._finish_event()
        field, _, value = line.partition(b":")
        self._take_field(field, value.removeprefix(b" "))
        return None

    def _take_field(self, field: bytes, value: bytes) -> None:
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif field == b"event":
            self._type = value
        elif field == b"id" and b"\0" not in value:
            self._last_id = value.decode(errors="replace")
        elif field == b"retry" and value.isdigit() and len(value) <= 9:
            self.retry_seconds = int(value) / 1_000

    def _finish_event(self) -> Event | None:
        event = None
        if self._data:
            event = Event(self._type.decode(errors="replace") or "message", b"\n".join(self._data), self._last_id)
        self._type = b""
        self._data = []
        self._data_bytes = 0
        return event
