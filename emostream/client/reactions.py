"""Sends reactions over a few keep-alive connections, and returns the outcome of each request."""

import asyncio
from collections.abc import Sequence

from emostream import model
from emostream.client.connection import HttpConnection
from emostream.client.errors import NoAnswerError
from emostream.client.http1 import Address, Response, post_json
from emostream.client.outcome import Outcome, outcome_of

# Longer than ingest waits for Kafka, so that ingest's own answer comes first.
_ANSWER_TIMEOUT_SECONDS = 10.0


class ReactionSender:
    """Sends reactions to an event. Use it as `async with ReactionSender(ingest_url) as sender`.

    Each request is sent once; there are no retries. At most `max_connections` requests run at a time, and further ones
    wait. A caller that does not wait for outcomes must bound the number of its requests. A request for an event that is
    unknown or closed is refused.
    """

    def __init__(self, ingest_url: str, max_connections: int = 8, *, event: str = model.MAIN) -> None:
        """Raises EmoStreamError if `event` is no id of an event."""
        self._address = Address.of(f"{ingest_url}{model.event_path(event)}/reactions")
        self._turns = asyncio.Semaphore(max_connections)
        self._idle: list[HttpConnection] = []

    async def __aenter__(self) -> "ReactionSender":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        while self._idle:
            self._idle.pop().close()

    async def send(self, reactions: Sequence[model.Reaction]) -> Outcome:
        """Send 1 to 1,000 reactions as one request. Ingest accepts or refuses it as a whole."""
        request = post_json(self._address, model.encode(reactions))
        async with self._turns:
            try:
                return outcome_of(await self._exchange(request))
            except NoAnswerError as error:
                return outcome_of(error)

    async def _exchange(self, request: bytes) -> Response:
        connection = await self._connection()
        response = await connection.exchange(request, _ANSWER_TIMEOUT_SECONDS)
        if connection.is_open:
            self._idle.append(connection)
        return response

    async def _connection(self) -> HttpConnection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        return await HttpConnection.connect(self._address)
