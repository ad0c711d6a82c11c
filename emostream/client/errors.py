"""What a client may not get: an answer to a request, the rest of a stream, and an event."""

from emostream.errors import EmoStreamError


class NoAnswerError(ConnectionError):
    """No answer came to a request."""


class NotSentError(NoAnswerError):
    """The request was not sent, so the server cannot have acted on it."""


class NotAnsweredError(NoAnswerError):
    """The request was sent and no complete answer came. Whether the server acted on it is unknown."""


class StreamLostError(Exception):
    """The stream ended: it was refused, broken or silent, or the server asked the viewer to leave.

    Every stream ends at some time, and the viewer then connects again. `reason` is for people. `retry_seconds` is how
    long the server asked the viewer to wait, or None if it did not ask.
    """

    def __init__(self, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_seconds = retry_seconds


class StreamLeftError(StreamLostError):
    """The subscriber said goodbye. It spreads its goodbyes over time, so the viewer need not wait."""


class TokenExpiredError(StreamLeftError):
    """The subscriber said goodbye because the token has expired: with a new one the viewer may come back."""


class StreamEndedError(StreamLostError):
    """The subscriber has nothing more for this viewer: the event has ended, and the viewer has seen all of it."""


class TokenRefusedError(StreamLostError):
    """The token is not good, or does not give the right to watch: the viewer needs another one."""


class NoEventError(EmoStreamError):
    """There is no such event, so no later try would find it."""

    def __init__(self, event: str) -> None:
        super().__init__(f"there is no event {event}: GET /v1/events of the registry lists those that are open.")
