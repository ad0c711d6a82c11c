"""The error that ends a stream of swarms. Every stream ends at some time, and the viewer then connects again."""


class StreamLostError(Exception):
    """The stream ended: it was refused, broken or silent, or the server asked the viewer to leave.

    `reason` is for people. `retry_seconds` is how long the server asked the viewer to wait, or None if it did not ask.
    """

    def __init__(self, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_seconds = retry_seconds
