"""Sends reactions over a few keep-alive connections, and returns the outcome of each request."""

import asyncio
from collections.abc import Sequence

from emostream import model
from emostream.client.connection import ConnectionEndedError, HttpConnection
from emostream.client.http1 import Address, post_json
from emostream.client.outcome import Outcome, Refused, Unknown, outcome_of

# Longer than ingest waits for Kafka, so that ingest's own answer comes first.
_ANSWER_TIMEOUT_SECONDS = 10.0


class ReactionSender:
    """Sends requests to ingest. Use it as `async with ReactionSender(ingest_url) as sender`.

    Each request is sent once; there are no retries. At most `max_connections` requests run at a time, and further ones
    wait. A caller that does not wait for outcomes must bound the number of its requests.
    """

    def __init__(self, ingest_url: str, max_connections: int = 8) -> None:
        self._address = Address.of(f"{ingest_url}/v1/reactions")
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
                connection = await self._connection()
            except OSError as error:
                return Refused(f"ingest cannot be reached: {error or 'no answer'}")
            try:
                response = await connection.exchange(request, _ANSWER_TIMEOUT_SECONDS)
            except ConnectionEndedError as error:
                return Unknown(str(error))
            if connection.is_open:
                self._idle.append(connection)
        return outcome_of(response)

    async def _connection(self) -> HttpConnection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        return await HttpConnection.connect(self._address)
