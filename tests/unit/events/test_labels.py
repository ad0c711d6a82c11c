"""How many events have a label of their own in the metrics, and which ones."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from emostream.errors import EmoStreamError
from emostream.events.labels import OTHER, EventCounter, EventLabels
from emostream.events.table import check_id


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    return CollectorRegistry()


def series(registry: CollectorRegistry) -> dict[str, float]:
    """The counts by label."""
    (metric,) = registry.collect()
    return {each.labels["event"]: each.value for each in metric.samples if each.name.endswith("_total")}


def counter(registry: CollectorRegistry) -> Counter:
    return Counter("reactions", "Reactions.", ["event"], registry=registry)


def test_the_events_that_were_opened_first_have_a_label() -> None:
    labels = EventLabels(2)
    assert labels.follow({"c": "1", "a": "2", "b": "3"}) == (set(), {"a", "c"})
    assert [labels.of(event) for event in ("main", "a", "b", "c", "made-up")] == ["main", "a", OTHER, "c", OTHER]
    assert labels.follow({"a": "2", "b": "3"}) == ({"c"}, {"b"})
    assert [labels.of(event) for event in ("a", "b", "c")] == ["a", "b", OTHER]


def test_no_event_can_have_the_label_of_all_others() -> None:
    with pytest.raises(EmoStreamError, match="no id of an event"):
        check_id(OTHER)


def test_a_closed_event_has_no_series_and_what_still_comes_of_it_is_counted_with_the_others(
    registry: CollectorRegistry,
) -> None:
    counts = EventCounter(counter(registry), 10)
    assert series(registry) == {"main": 0}
    counts.follow({"final": "1"})
    counts.inc("final", 5)
    counts.inc("main", 2)
    assert series(registry) == {"main": 2, "final": 5}
    counts.follow({})
    counts.inc("final", 1)
    assert series(registry) == {"main": 2, OTHER: 1}


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("0123"))))
def test_the_series_are_bounded_and_nothing_that_is_counted_goes_uncounted(openings: list[dict[str, str]]) -> None:
    registry = CollectorRegistry()
    counts = EventCounter(counter(registry), 3)
    for streams in openings:
        counts.follow(streams)
        before = sum(series(registry).values())
        for event in "abcdefgh":
            counts.inc(event, 1)
        assert sum(series(registry).values()) == before + 8
        assert len(series(registry)) <= 3 + 2
