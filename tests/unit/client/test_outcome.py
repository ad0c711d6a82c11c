"""An outcome is told as certain only where it is."""

import pytest

from emostream.client.errors import NotAnsweredError, NotSentError
from emostream.client.http1 import Response
from emostream.client.outcome import Accepted, Refused, Unknown, outcome_of
from emostream.model import Record


def response(status: int, body: bytes = b"", retry_after: str = "") -> Response:
    return Response(status, {"retry-after": retry_after}, body, keeps_alive=True)


def test_accepted_tells_the_record() -> None:
    body = b'{"accepted": 3, "record": {"partition": 1, "offset": 7, "timestamp": 9}}'
    assert outcome_of(response(202, body)) == Accepted(3, Record(1, 7, 9))


def test_an_answer_that_nobody_can_read_is_unknown() -> None:
    assert isinstance(outcome_of(response(202, b"{}")), Unknown)
    assert isinstance(outcome_of(response(202, b'{"more": "\xff"}')), Unknown)


@pytest.mark.parametrize("status", [400, 408, 413, 415, 422, 429, 503])
def test_refused(status: int) -> None:
    outcome = outcome_of(response(status, b'{"detail": "no"}', "2"))
    assert outcome == Refused("no", 2)


@pytest.mark.parametrize("status", [200, 301, 500, 502, 504])
def test_unknown(status: int) -> None:
    assert isinstance(outcome_of(response(status)), Unknown)


def test_without_an_answer_only_what_was_never_sent_is_certain() -> None:
    assert outcome_of(NotSentError("nobody there")) == Refused("nobody there")
    assert outcome_of(NotAnsweredError("no answer came")) == Unknown("no answer came")
