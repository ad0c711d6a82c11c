"""Sends reactions over a few keep-alive connections, and returns the outcome of each request."""

import asyncio
import time
from collections.abc import Sequence

from emostream import model
from emostream.client.connection import HttpConnection
from emostream.client.errors import NoAnswerError
from emostream.client.http1 import Address, Response, post_json
from emostream.client.outcome import Outcome, outcome_of
from emostream.client.token import TokenSource, newest

# Longer than ingest waits for Kafka, so that ingest's own answer comes first.
_ANSWER_TIMEOUT_SECONDS = 10.0
# Shorter than ingest (60 s) and HAProxy (30 s) wait for the next request. One that comes when they close is lost.
_MAX_IDLE_SECONDS = 15.0


class ReactionSender:
    """Sends reactions to an event. Use it as `async with ReactionSender(ingest_url) as sender`.

    Each request is sent once, or once more with a new token if the old one was refused. There are no other retries.
    At most `max_connections` requests run at a time, and further ones
    wait. A caller that does not wait for outcomes must bound the number of its requests. A request for an event that is
    unknown or closed is refused. `token` is as that of a Viewer; the errors of its function are raised by `send`.
    """

    def __init__(
        self,
        ingest_url: str,
        max_connections: int = 8,
        *,
        event: str = model.MAIN,
        token: TokenSource | None = None,
    ) -> None:
        """Raises EmoStreamError if `event` is no id of an event."""
        self._address = Address.of(f"{ingest_url}{model.event_path(event)}/reactions")
        self._source = token
        self._token: str | None = None
        self._turns = asyncio.Semaphore(max_connections)
        # Each with the time, of `time.monotonic`, of its last answer.
        self._idle: list[tuple[float, HttpConnection]] = []

    async def __aenter__(self) -> "ReactionSender":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def send(self, reactions: Sequence[model.Reaction]) -> Outcome:
        """Send 1 to 1,000 reactions as one request. Ingest accepts or refuses it as a whole."""
        body = model.encode(reactions)
        async with self._turns:
            try:
                response = await self._post(body)
                if response.refuses_token and callable(self._source):
                    self._token = None
                    response = await self._post(body)
                return outcome_of(response)
            except NoAnswerError as error:
                return outcome_of(error)

    async def _post(self, body: bytes) -> Response:
        if self._token is None:
            self._token = await newest(self._source) or None
        request = post_json(self._address, body, self._token)
        connection = await self._connection()
        response = await connection.exchange(request, _ANSWER_TIMEOUT_SECONDS)
        if connection.is_open:
            self._idle.append((time.monotonic(), connection))
        return response

    async def _connection(self) -> HttpConnection:
        while self._idle:
            idle_since, connection = self._idle.pop()
            if connection.is_open and time.monotonic() < idle_since + _MAX_IDLE_SECONDS:
                return connection
            connection.close()
        return await HttpConnection.connect(self._address)
