"""Reads from Kafka what was counted: follows the topic `swarms`, and counts the reactions of other users."""

import asyncio
import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from kafka import KafkaConsumer, TopicPartition

from emostream import model
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.runtime import kafka
from emostream.swarms.reactions import judged

_SWARMS = TopicPartition(model.SWARMS_TOPIC, 0)
_READ_TIMEOUT_SECONDS = 30


class SwarmFollower:
    """Reads new records of `swarms`. `last` is the last record at the time of creation.

    Raises EmoStreamError if Kafka does not answer or `swarms` is empty.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._reader = _reader(settings)
        record = kafka.last_record(self._reader, _SWARMS)
        if record is None:
            raise EmoStreamError(f"{model.SWARMS_TOPIC} is empty: run `emostream topics apply` first.")
        self.last = model.decode_swarm(record.value)
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def following(self, loop: asyncio.AbstractEventLoop, on_swarm: Callable[[model.Swarm], None]) -> Iterator[None]:
        """Call `on_swarm` on `loop` with each record after `last`, in order, while the context is open."""
        thread = threading.Thread(target=self._follow, args=(loop, on_swarm), name="swarms")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()
            self._reader.close()

    def _follow(self, loop: asyncio.AbstractEventLoop, on_swarm: Callable[[model.Swarm], None]) -> None:
        while not self._stopping.is_set():
            for records in self._reader.poll(timeout_ms=100).values():
                for record in records:
                    loop.call_soon_threadsafe(on_swarm, model.decode_swarm(record.value))


def count_others(
    settings: KafkaSettings, start: dict[int, int], end: dict[int, int], our_prefix: str
) -> dict[str, Counter[str]]:
    """Count, by event and emoji, the reactions of users without the prefix.

    `start` and `end` are offsets by partition.
    """
    with _reader(settings) as reader:
        return sent_by_others(_values(reader, start, end), our_prefix)


def _values(reader: KafkaConsumer, start: dict[int, int], end: dict[int, int]) -> Iterator[bytes]:
    for number, end_offset in end.items():
        partition = TopicPartition(model.REACTIONS_TOPIC, number)
        reader.assign([partition])
        for record in kafka.records_until(reader, partition, start.get(number, 0), end_offset, _READ_TIMEOUT_SECONDS):
            if record.offset < end_offset:
                yield record.value


def _reader(settings: KafkaSettings) -> KafkaConsumer:
    return kafka.log_reader(settings.bootstrap_servers, settings.max_record_bytes)


def sent_by_others(records: Iterable[bytes], our_prefix: str) -> dict[str, Counter[str]]:
    """Count, by event and emoji, the reactions of users without our prefix. Invalid records do not count."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for user_id, emoji, event in judged(record):
            if not user_id.startswith(our_prefix):
                found[event][emoji] += 1
    return found
