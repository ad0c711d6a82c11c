"""A session says what to ask, which stream to open, and how long to wait, whatever comes: no socket is needed."""

import pytest

from emostream import model
from emostream.client.errors import (
    NoEventError,
    NotAnsweredError,
    StreamEndedError,
    StreamLostError,
    TokenExpiredError,
    TokenRefusedError,
)
from emostream.client.http1 import Response
from emostream.client.session import Kind, Session
from emostream.client.watcher import Continuity

TOKEN = "a.b.c"  # noqa: S105
ASSIGNMENT = model.Assignment("c/1", "c", "http://host:1/v1/stream", "ws://host:1/v1/ws")


def answer(status: int = 200, body: bytes = model.encode(ASSIGNMENT), retry_after: str = "") -> Response:
    return Response(status, {"retry-after": retry_after}, body, keeps_alive=True)


def swarm(sequence: int) -> model.Swarm:
    counts = {"🔥": 1}
    return model.Swarm(f"s-{sequence}", sequence, model.Window(0, 1), 1, counts, counts, {"🔥": sequence})


def session(kind: Kind = "sse") -> Session:
    return Session("u1", kind, lambda: 1.0)


def unknown(event: str) -> Response:
    return answer(404, model.encode({"detail": f"There is no event {event}.", "event": event}))


def asked(viewer: Session) -> dict[str, object]:
    return model.decode(viewer.question(), dict[str, object])


@pytest.mark.parametrize("kind", ["sse", "ws"])
def test_the_stream_resumes_after_the_last_message(kind: Kind) -> None:
    viewer = session(kind)
    assert asked(viewer) == {"user_id": "u1", "event": "main", "exclude": []}
    assert b"s-5" not in viewer.stream(viewer.assigned(answer())).request()
    viewer.take(model.Snapshot("s-4", 4, {"🔥": 4}))
    assert viewer.take(swarm(5)) is Continuity.FITS
    assert b"s-5" in viewer.stream(viewer.assigned(answer())).request()


def test_a_subscriber_that_was_lost_is_avoided_until_a_message_comes() -> None:
    viewer = session()
    viewer.assigned(answer())
    assert viewer.lost(StreamLostError("gone")) == 0.5
    assert asked(viewer)["exclude"] == ["c/1"]
    viewer.assigned(answer())
    viewer.take(model.Snapshot("s-4", 4, {}))
    assert asked(viewer)["exclude"] == []


def test_a_loss_before_the_registry_answers_blames_no_subscriber() -> None:
    viewer = session()
    viewer.assigned(answer())
    viewer.question()
    viewer.lost(StreamLostError("gone"))
    assert asked(viewer)["exclude"] == []


@pytest.mark.parametrize(
    ("answered", "reason", "retry_seconds"),
    [
        (NotAnsweredError("no answer came in 1 s"), "the registry does not answer: no answer came in 1 s", None),
        (answer(503, b'{"detail": "full"}', "7"), "full", 7),
        (answer(body=b"{}"), "the registry's answer is no assignment", None),
        (answer(body=b'{"subscriber": "\xff"}'), "the registry's answer is no assignment", None),
    ],
)
def test_a_refusal_says_why_and_for_how_long(
    answered: Response | NotAnsweredError, reason: str, retry_seconds: float | None
) -> None:
    with pytest.raises(StreamLostError, match=reason) as refusal:
        session().assigned(answered)
    assert refusal.value.retry_seconds == retry_seconds


def test_it_asks_for_its_event_and_is_told_that_there_is_none() -> None:
    viewer = Session("u1", "sse", lambda: 1.0, "final")
    assert asked(viewer)["event"] == "final"
    with pytest.raises(NoEventError, match="there is no event final: GET /v1/events"):
        viewer.assigned(unknown("final"))


@pytest.mark.parametrize(
    "other", [answer(404, b"<h1>Not Found</h1>"), unknown("other")], ids=["a proxy's", "another's"]
)
def test_a_404_that_does_not_name_the_event_is_tried_again(other: Response) -> None:
    with pytest.raises(StreamLostError):
        session().assigned(other)


def test_after_the_end_there_is_no_next_connection() -> None:
    viewer = session()
    viewer.take(model.Snapshot("s-4", 4, {"🔥": 4}))
    assert viewer.lost(StreamLostError("gone")) == 0.5
    assert viewer.take(model.End("s-5", 5, {"🔥": 4})) is Continuity.FITS
    assert viewer.lost(StreamLostError("gone")) is None


def test_when_the_subscriber_has_nothing_more_there_is_no_next_connection() -> None:
    assert session().lost(StreamEndedError("the event has ended")) is None


@pytest.mark.parametrize("kind", ["sse", "ws"])
def test_a_url_that_is_none_loses_the_stream(kind: Kind) -> None:
    with pytest.raises(StreamLostError):
        session(kind).stream(model.Assignment("c/1", "c", "nonsense", "nonsense"))


def test_a_repeat_is_told_and_what_ends_the_stream_is_raised() -> None:
    viewer = session()
    viewer.take(model.Snapshot("s-4", 4, {"🔥": 4}))
    viewer.take(swarm(5))
    assert viewer.take(swarm(5)) is Continuity.REPEAT
    for wrong, said in [
        (swarm(7), "missing before s-7"),
        (model.End("s-7", 7, {"🔥": 6}), "missing before s-7"),
        (model.Goodbye(), "goodbye"),
        (model.Snapshot("nonsense", 1, {}), "no id"),
    ]:
        with pytest.raises(StreamLostError, match=said):
            viewer.take(wrong)
    assert viewer.watcher.resume_id == "s-5"


@pytest.mark.parametrize("kind", ["sse", "ws"])
def test_the_token_goes_to_the_subscriber(kind: Kind) -> None:
    viewer = session(kind)
    assert b"Authorization" not in viewer.stream(viewer.assigned(answer())).request()
    viewer.token = TOKEN
    assert b"\r\nAuthorization: Bearer a.b.c\r\n" in viewer.stream(viewer.assigned(answer())).request()


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_the_registry_refuses_is_not_sent_again(status: int) -> None:
    viewer = session()
    viewer.token = TOKEN
    with pytest.raises(TokenRefusedError, match="expired") as loss:
        viewer.assigned(answer(status, b'{"detail":"The token has expired."}'))
    assert viewer.lost(loss.value) == 0.5
    assert viewer.token is None


@pytest.mark.parametrize("kind", ["sse", "ws"])
def test_a_token_that_the_subscriber_refuses_is_not_sent_again(kind: Kind) -> None:
    viewer = session(kind)
    viewer.token = TOKEN
    stream = viewer.stream(viewer.assigned(answer()))
    stream.request()
    with pytest.raises(TokenRefusedError, match="no right") as loss:
        list(stream.feed(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 21\r\n\r\n{"detail":"no right"}'))
    viewer.lost(loss.value)
    assert viewer.token is None
    assert asked(viewer)["exclude"] == []


def test_an_expired_token_is_renewed_at_the_same_subscriber_and_without_a_gap() -> None:
    viewer = session()
    viewer.token = TOKEN
    viewer.assigned(answer())
    viewer.take(model.Snapshot("s-4", 4, {}))
    with pytest.raises(TokenExpiredError, match="expired") as loss:
        viewer.take(model.Goodbye("expired"))
    assert viewer.lost(loss.value) == 0
    assert viewer.token is None
    assert asked(viewer)["exclude"] == []
    assert b"s-4" in viewer.stream(viewer.assigned(answer())).request()


def test_other_losses_keep_the_token() -> None:
    viewer = session()
    viewer.token = TOKEN
    viewer.assigned(answer())
    viewer.lost(StreamLostError("gone"))
    assert viewer.token == TOKEN
