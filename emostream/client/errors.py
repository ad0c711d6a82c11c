"""How a stream of swarms ends; it always ends some time, and a viewer then goes on elsewhere."""


class StreamLostError(Exception):
    """No more swarms come this way: refused, broken, silent, or told to leave.

    `reason` is for people. `retry_seconds` is how long the server wishes us to stay away, None where it said nothing.
    """

    def __init__(self, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_seconds = retry_seconds
