"""What became of reactions that were sent: taken, refused, or nobody knows. Pure."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from emostream import model
from emostream.client.http1 import Response


class Record(msgspec.Struct, frozen=True):
    """The Kafka record of `reactions` that holds the request; `timestamp` in ms since the epoch."""

    partition: int
    offset: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """All of the request is in Kafka."""

    reactions: int
    record: Record


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of the request is in Kafka, nor will be. With `retry_after_seconds` it may be sent again then."""

    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may or may not be in Kafka: sending it again could count it twice."""

    reason: str


Outcome = Accepted | Refused | Unknown


def outcome_of(response: Response) -> Outcome:
    """What ingest's answer to POST /v1/reactions means."""
    if response.status == HTTPStatus.ACCEPTED:
        try:
            answer = model.decode(response.body, _Answer)
        except msgspec.DecodeError as error:
            return Unknown(f"the answer is not ingest's: {error}")
        return Accepted(answer.accepted, answer.record)
    # Of the server's errors, 503 alone says for certain that nothing was taken.
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE or 400 <= response.status < 500:
        return Refused(response.reason, response.retry_after_seconds)
    return Unknown(response.reason)


class _Answer(msgspec.Struct):
    accepted: int
    record: Record
