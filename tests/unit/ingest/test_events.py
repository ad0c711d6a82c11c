"""Which events take reactions, and when an ingest confirms a close."""

from http import HTTPStatus

import pytest

from emostream.events.table import Definition, State
from emostream.ingest.events import Events, Refusal


def definition(state: State) -> Definition:
    return Definition("A match", ("🔥",), state, "00000000064")


def events(*, is_current: bool = True, is_registered: bool = True, **states: State) -> Events:
    return Events({event: definition(state) for event, state in states.items()}, is_current, is_registered)


@pytest.mark.parametrize("is_current", [True, False])
def test_an_open_event_takes_reactions_even_without_zookeeper(is_current: bool) -> None:
    assert events(is_current=is_current, final="open").find("final") == definition("open")


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (events(), HTTPStatus.NOT_FOUND),
        (events(is_current=False), HTTPStatus.SERVICE_UNAVAILABLE),
        (events(is_registered=False), HTTPStatus.SERVICE_UNAVAILABLE),
        (events(final="opening"), HTTPStatus.SERVICE_UNAVAILABLE),
        (events(final="open", is_registered=False), HTTPStatus.SERVICE_UNAVAILABLE),
        (events(final="closing"), HTTPStatus.GONE),
        (events(final="closed", is_current=False), HTTPStatus.GONE),
        (events(final="archiving"), HTTPStatus.GONE),
    ],
)
def test_every_other_event_is_refused_by_name(seen: Events, status: HTTPStatus) -> None:
    refusal = seen.find("final")
    assert isinstance(refusal, Refusal)
    assert refusal.status is status
    assert "final" in refusal.detail


def test_a_close_is_confirmed_once_nothing_of_the_event_is_in_flight() -> None:
    seen = events(a="closing", b="closing", c="open", d="closed")
    assert seen.confirmed({"a", "c"}.__contains__) == {"b": "00000000064"}
