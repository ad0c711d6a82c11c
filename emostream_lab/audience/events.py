"""The events of a simulated audience: `main`, and others that are opened for it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from emostream import palette
from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events import table as tables
from emostream.events.table import Definition
from emostream.model import MAIN
from emostream.operate.events import EventOptions, Operator, operator

# The aggregator and the other processes apply the changes of all these in one go.
_AT_ONCE = 16
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
    _change(zookeeper, kafka, events, open_one)


def close_all(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, events: Sequence[str]) -> None:
    """Close all of these events except `main`, and take them out of the records.

    Raises EmoStreamError if that is not done in time.
    """

    def close(operator: Operator, event: str) -> None:
        operator.close(event)
        # Nothing can come late, because nobody else knows of these events.
        operator.archive(event, force=True)

    _change(zookeeper, kafka, events, close)


def open_one(operator: Operator, event: str) -> None:
    """Open one event. Raises EmoStreamError like `open_all`."""
    operator.open(event, EventOptions(_title(event), ("default",)))


def _change(
    zookeeper: ZooKeeperSettings, kafka: KafkaSettings, events: Sequence[str], how: Callable[[Operator, str], None]
) -> None:
    if not (others := [event for event in events if event != MAIN]):
        return
    with operator(zookeeper, kafka, _TIMEOUT_SECONDS) as one, ThreadPoolExecutor(_AT_ONCE) as threads:
        for done in [threads.submit(how, one, event) for event in others]:
            done.result()


def _title(event: str) -> str:
    return event.replace("-", " ").capitalize()
