"""Gives open events a label of their own in the metrics, up to a bound."""

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import Counter

from emostream.model import MAIN, EventPart

OTHER = "_other"
"""The label that sums all other events. No id of an event begins with `_`."""


def open_streams(parts: Mapping[str, EventPart]) -> dict[str, str]:
    """Return the open events of a record, each with its stream."""
    return {event: part.stream for event, part in parts.items() if not part.ended}


class Relabelled(NamedTuple):
    """The events that have no label of their own any more, and those that have one now."""

    gone: frozenset[str]
    new: frozenset[str]


class EventLabels:
    """The labels of `main` and of the events that were opened first.

    An event that closes gives its label up, and the next one in the order of opening gets one.
    """

    def __init__(self, most: int) -> None:
        """`most` events besides `main` have a label of their own."""
        self._most = most
        # The open events besides `main`, each with its stream, and those of them with a label of their own.
        self._streams: Mapping[str, str] = {}
        self._named = frozenset[str]()

    def follow(self, streams: Mapping[str, str]) -> Relabelled:
        """Take the open events besides `main`, each with its stream. Returns whose series come and go."""
        if streams == self._streams:
            # Most records open and close no event.
            return Relabelled(gone=frozenset(), new=frozenset())
        self._streams = streams
        in_order = sorted(streams, key=lambda event: (streams[event], event))
        before, self._named = self._named, frozenset(in_order[: self._most])
        return Relabelled(gone=before - self._named, new=self._named - before)

    def of(self, event: str) -> str:
        """Return the label of an event."""
        return event if event == MAIN or event in self._named else OTHER


class EventCounter:
    """A counter by event. Its series of an event goes when the event closes."""

    def __init__(self, counter: Counter, most: int) -> None:
        """`counter` has the label `event`. `most` events besides `main` have a series of their own."""
        self._counter = counter
        self._labels = EventLabels(most)
        counter.labels(MAIN)

    def inc(self, event: str, amount: int) -> None:
        """Count so much more for an event."""
        self._counter.labels(self._labels.of(event)).inc(amount)

    def follow(self, streams: Mapping[str, str]) -> None:
        """Take the open events besides `main`, each with its stream."""
        for event in self._labels.follow(streams).gone:
            self._counter.remove(event)
