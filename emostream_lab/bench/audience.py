"""Writes a swarm at each trigger, like the swarms of an audience with a given rate of reactions.

`python -m emostream_lab.bench.audience kafka HOST:PORT` writes to the topic `swarms`. `… nchan HOST:PORT` publishes to
nchan, and `… centrifugo HOST:PORT` to Centrifugo. All run until they are ended. A swarm's window ends when the swarm is
written, so a viewer can tell its age.
"""

import argparse
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from emostream import config, palette
from emostream.config import KafkaSettings
from emostream.model import MAIN, SWARMS_TOPIC, EventPart, Progress, Swarm, Window, encode, message_id, new_stream_id
from emostream.runtime.kafka import durable_producer
from emostream.swarms.rules import Compression
from emostream_lab.audience import events
from emostream_lab.bench.peers import centrifugo, nchan

Write = Callable[[Swarm], None]


class Audience:
    """An unbroken stream of swarms, from an audience that always reacts with the same emoji.

    It reacts to each event in the same way. The first event is `main`.
    """

    def __init__(
        self,
        per_second: int,
        trigger_ms: int,
        seed: int,
        emoji: Sequence[str] = palette.DEFAULT,
        events: Sequence[str] = (MAIN,),
    ) -> None:
        self._other_events = events[1:]
        self._reactions = per_second * trigger_ms // 1000
        self._trigger_ms = trigger_ms
        self._random = random.Random(seed)
        self._emoji = emoji
        self._compression = Compression(1_000, "ceil")
        self._stream = new_stream_id(time.time_ns() // 1_000_000)
        self._sequence = 0
        self._totals: Counter[str] = Counter()

    def react_until(self, is_over: threading.Event, write: Write) -> None:
        """Write one swarm at each trigger. A late swarm does not delay the swarms after it."""
        began = time.monotonic()
        while not is_over.wait(max(0, began + self._sequence * self._trigger_ms / 1000 - time.monotonic())):
            write(self.next_swarm())

    def next_swarm(self) -> Swarm:
        """Return the swarm of a window that ends now."""
        weights = [self._random.random() ** 2 + 0.05 for _ in self._emoji]
        counts = dict(Counter(self._random.choices(self._emoji, weights, k=self._reactions)))
        self._sequence += 1
        self._totals.update(counts)
        now = time.time_ns() // 1_000_000
        swarm = {emoji: self._compression.of(count) for emoji, count in counts.items()}
        part = EventPart(self._stream, self._sequence, dict(self._totals), counts, swarm)
        return Swarm(
            id=message_id(self._stream, self._sequence),
            sequence=self._sequence,
            window=Window(now - self._trigger_ms, now),
            reactions=self._reactions,
            counts=counts,
            swarm=swarm,
            totals=dict(self._totals),
            progress=Progress("bench", {}),
            events=dict.fromkeys(self._other_events, part) or msgspec.UNSET,
        )


def to_kafka(bootstrap_server: str) -> Write:
    """Return a function that writes to the topic `swarms`, as the aggregator does."""
    producer = durable_producer(config.load(KafkaSettings, bootstrap_servers=(bootstrap_server,)))
    return lambda swarm: producer.send(SWARMS_TOPIC, encode(swarm), partition=0).get(10)


def _to_nchan(address: str) -> Write:
    # The header is nchan's own, so this is no request of emostream.client.
    headers = {"Content-Type": "application/json", "X-EventSource-Event": "swarm"}
    post = _posting(address, nchan.PUBLISH_PATH, headers)

    def write(swarm: Swarm) -> None:
        status, _ = post(encode(swarm.for_viewers()))
        assert status in {201, 202}, f"nchan answered {status}"

    return write


def _to_centrifugo(address: str) -> Write:
    post = _posting(address, centrifugo.PUBLISH_PATH, {"Content-Type": "application/json"})

    def write(swarm: Swarm) -> None:
        answer = post(encode({"channel": centrifugo.CHANNEL, "data": swarm.for_viewers()}))
        assert answer == (200, b'{"result":{}}'), f"Centrifugo answered {answer}"

    return write


def _posting(address: str, path: str, headers: Mapping[str, str]) -> Callable[[bytes], tuple[int, bytes]]:
    """Return a function that posts a body on one connection, and returns the status and the body of the answer."""
    connection = http.client.HTTPConnection(address)

    def post(body: bytes) -> tuple[int, bytes]:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return post


_SINKS = {"kafka": to_kafka, "nchan": _to_nchan, "centrifugo": _to_centrifugo}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sink", choices=tuple(_SINKS))
    parser.add_argument("address")
    parser.add_argument("--trigger-ms", type=int, default=100)
    parser.add_argument("--per-second", type=int, default=100, help="reactions")
    parser.add_argument("--events", type=int, default=1, help="how many, `main` among them")
    parser.add_argument("--kinds", type=int, default=1, help="how many different emoji")
    arguments = parser.parse_args()
    write = _SINKS[arguments.sink](arguments.address)
    names = events.names("bench", arguments.events)
    audience = Audience(arguments.per_second, arguments.trigger_ms, 7, palette.DEFAULT[: arguments.kinds], names)
    audience.react_until(threading.Event(), write)


if __name__ == "__main__":
    main()
