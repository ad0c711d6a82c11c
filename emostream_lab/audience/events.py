"""The events of a simulated audience: `main`, and others that are opened for it."""

from collections.abc import Sequence

from emostream import palette
from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events import table as tables
from emostream.events.table import Definition
from emostream.model import MAIN
from emostream.operate.events import Wanted, operator

_TIMEOUT_SECONDS = 120.0


def names(prefix: str, count: int) -> list[str]:
    """Return the names of `count` events: `main`, and numbered ones that begin with the prefix."""
    return [MAIN, *(f"{prefix}-{number}" for number in range(2, count + 1))]


def check_room(events: Sequence[str], max_record_bytes: int) -> None:
    """Check, before anything is started, that these events fit into a record. Raises EmoStreamError."""
    definition = Definition(_title(events[-1]), palette.DEFAULT, "opening", "0" * 11)
    most = 1 + (max_record_bytes - tables.MAIN_BYTES) // tables.largest_part_bytes(events[-1], definition)
    if len(events) > most:
        raise EmoStreamError(
            f"EVENTS={len(events)} is too many: a record has room for {most} such events while "
            f"EMOSTREAM_KAFKA_MAX_RECORD_BYTES is {max_record_bytes}."
        )


def open_all(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, events: Sequence[str]) -> None:
    """Open all of these events except `main`, which is always open.

    Raises EmoStreamError if one is not open in time, or if a record has no room.
    """
    if others := _others(events):
        with operator(zookeeper, kafka, _TIMEOUT_SECONDS) as one:
            one.bring_about([wanted(event) for event in others])


def close_all(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, events: Sequence[str]) -> None:
    """Close all of these events except `main`, and take them out of the records.

    Raises EmoStreamError if that is not done in time.
    """
    if others := _others(events):
        with operator(zookeeper, kafka, _TIMEOUT_SECONDS) as one:
            one.bring_about([Wanted(event, state="closed") for event in others])
            # Nothing can come late, because nobody else knows of these events.
            one.archive(*others, force=True)


def wanted(event: str) -> Wanted:
    """Return what to open: an event with the default palette, and a title made of its name."""
    return Wanted(event, _title(event))


def _others(events: Sequence[str]) -> list[str]:
    return [event for event in events if event != MAIN]


def _title(event: str) -> str:
    return event.replace("-", " ").capitalize()
