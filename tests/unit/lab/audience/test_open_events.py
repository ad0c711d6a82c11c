"""People react to the events that are open, and stop when they are refused."""

from emostream_lab.audience.open_events import OpenEvents


def test_the_log_shows_which_events_are_open() -> None:
    events = OpenEvents(["main", "final", "semi"])
    events.follow(lambda event: event != "semi")
    assert events.open == ["main", "final"]


def test_nothing_is_sent_to_an_event_that_refused_until_the_log_shows_it_open() -> None:
    events = OpenEvents(["main", "final"])
    events.follow(lambda _: True)
    for _ in range(2):
        events.refused("final")
        assert events.open == ["main"]
    events.follow(lambda _: True)
    assert events.open == ["main", "final"]


def test_main_is_never_closed() -> None:
    events = OpenEvents(["main"])
    events.follow(lambda _: True)
    events.refused("main")
    assert events.open == ["main"]
