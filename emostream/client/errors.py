"""What a client may not get: an answer to a request, and the rest of a stream."""


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
