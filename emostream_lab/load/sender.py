"""Sends a share of the crowd's reactions: each request when it is due, independently of the other requests."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from emostream.client.errors import NoAnswerError
from emostream.client.outcome import Accepted, Outcome, outcome_of
from emostream.model import Reaction, encode
from emostream_lab.audience.arrivals import next_due
from emostream_lab.load.http import Endpoint
from emostream_lab.load.run import Run, now_seconds

if TYPE_CHECKING:
    # Importing Locust patches the standard library.
    from emostream_lab.load.record import Record

# How often each emoji of a palette is sent. As in any real crowd, the second is sent half as often as the first, the
# third a third as often, and so on.
_CUMULATIVE_POPULARITY = list(accumulate(1 / rank for rank in range(1, 1_000)))
_USERS = 1_000_000


class Portion(NamedTuple):
    """What one sender sends: its share (0 to 1) of all reactions, and the number of reactions in each request."""

    share: float
    batch: int


class Sender:
    """Sends one portion of the crowd's reactions."""

    def __init__(
        self, run: Run, ingest: Mapping[str, Endpoint], record: "Record", portion: Portion, draw: Random
    ) -> None:
        """`ingest` has the address of each event."""
        self._run = run
        self._shares = run.cumulative_shares
        self._ingest = ingest
        self._record = record
        self._batch = portion.batch
        self._requests_per_reaction = portion.share / portion.batch
        self._draw = draw
        self._name = "/v1/reactions" if self._batch == 1 else f"/v1/reactions ({self._batch} at once)"

    def send_all(self, spawn: Callable[[Callable[[float], None], float], object]) -> None:
        """Spawn each request when it is due, until the run is over or stops sending."""
        due, end = now_seconds(), self._run.ends_seconds
        while self._run.is_sending:
            due = next_due(due, end, self._requests_per_second, self._draw.expovariate(1))
            time.sleep(max(0.0, due - now_seconds()))
            if due >= end:
                return
            spawn(self.send, due)

    def send(self, due_seconds: float) -> None:
        """Send the request that is due to one of the events, and record its outcome.

        Does nothing if the run has stopped sending since it was due, because the account may be closed by then.
        """
        if not self._run.is_sending:
            return
        [part] = self._draw.choices(self._run.parts, cum_weights=self._shares)
        reactions = [self._reaction(part.palette, due_seconds) for _ in range(self._batch)]
        self._run.in_flight += 1
        try:
            outcome = self._post(part.event, encode(reactions if self._batch > 1 else reactions[0]))
        finally:
            self._run.in_flight -= 1
        part.tally.sent(reactions, outcome, due_seconds)
        error = None if isinstance(outcome, Accepted) else f"{type(outcome).__name__.lower()}: {outcome.reason}"
        self._record.request("POST", self._name, due_seconds, error=error)

    def _post(self, event: str, body: bytes) -> Outcome:
        try:
            return outcome_of(self._ingest[event].post(body))
        except NoAnswerError as error:
            return outcome_of(error)

    def _requests_per_second(self, at_seconds: float) -> float:
        return self._run.reactions_per_second(at_seconds) * self._requests_per_reaction

    def _reaction(self, palette: Sequence[str], due_seconds: float) -> Reaction:
        [emoji] = self._draw.choices(palette, cum_weights=_CUMULATIVE_POPULARITY[: len(palette)])
        return Reaction(f"load-{self._draw.randrange(_USERS)}", emoji, int(due_seconds * 1_000))
