"""The outcome of a request that sent reactions: accepted, refused, or unknown. Pure: no input or output."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from emostream import model
from emostream.client.errors import NoAnswerError, NotSentError
from emostream.client.http1 import Response


@dataclass(frozen=True, slots=True)
class Accepted:
    """All reactions of the request are in Kafka, in this record."""

    reactions: int
    record: model.Record


@dataclass(frozen=True, slots=True)
class Refused:
    """No reaction of the request is in Kafka or will be. It may be sent again after `retry_after_seconds`, if set."""

    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may or may not be in Kafka. If it is sent again, it may count twice."""

    reason: str


Outcome = Accepted | Refused | Unknown


def outcome_of(response: Response | NoAnswerError) -> Outcome:
    """Interpret ingest's answer to POST /v1/reactions, or the error that came in its place."""
    if isinstance(response, NotSentError):
        return Refused(str(response))
    if isinstance(response, NoAnswerError):
        return Unknown(str(response))
    if response.status == HTTPStatus.ACCEPTED:
        try:
            accepted = model.decode(response.body, model.Acceptance)
        except msgspec.DecodeError as error:
            return Unknown(f"the answer is not ingest's: {error}")
        return Accepted(accepted.accepted, accepted.record)
    # Among server errors, only 503 guarantees that nothing was accepted.
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE or 400 <= response.status < 500:
        return Refused(response.reason, response.retry_after_seconds)
    return Unknown(response.reason)
