"""Every reaction is counted once; what is no reaction is set aside and told."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from kafka import TopicPartition

from emostream import model
from emostream.aggregator.driver import EXIT_OUTCOME_UNKNOWN
from emostream.model import (
    COUNTS_HEADER,
    DEAD_LETTER_TOPIC,
    REACTIONS_TOPIC,
    SWARMS_TOPIC,
    WARMUP_TOPIC,
    Reaction,
    encode,
)
from emostream.operate import topics
from emostream.runtime.kafka import admin_client, durable_producer
from emostream.swarms.rules import RECOVERY_COMMAND, progress_of
from emostream_lab.chaos.junk import JUNK, ODD
from tests.conftest import Server
from tests.integration.aggregator.conftest import (
    CLUSTERS,
    LOOK_SECONDS,
    TIMEOUT_SECONDS,
    Aggregator,
    Log,
    Start,
    delete,
    new_log,
    starting,
)
from tests.integration.asking import metric
from tests.integration.viewers import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]


@dataclass
class Counting:
    """An aggregator that counts what is written to the log."""

    log: Log
    aggregator: Aggregator


@pytest.fixture(scope="module")
def counting(broker: Server, zookeeper: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """One aggregator for the tests that need no other settings, because Spark starts slowly. They come first."""
    directory = tmp_path_factory.mktemp("counting")
    with new_log(broker) as log, starting(broker, zookeeper, directory) as start:
        aggregator = start()
        aggregator.wait_until_it_leads()
        yield Counting(log, aggregator)


def test_records_of_the_warm_up_are_not_counted(counting: Counting) -> None:
    log = counting.log
    assert len(log.swarms()) == 1
    assert not sum(log.ends().values())
    made_up = log.ends(WARMUP_TOPIC)
    assert len(made_up) == len(log.ends())
    assert all(made_up.values())


def test_reactions_are_counted_and_what_is_none_is_set_aside_whole(counting: Counting) -> None:
    log, aggregator = counting.log, counting.aggregator
    log.send(*"🔥🔥👏")
    for value in JUNK:
        log.send_raw(value)
        log.send("🔥", "❤️", "👨‍👩‍👧‍👦", "🇫🇷", "1️⃣", "ℹ️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿")
    log.send_raw(None)
    for value, counts in ODD.items():
        log.send_raw(value)
        log.sent.update(counts)
    last = log.check()[-1]
    letters = log.records(DEAD_LETTER_TOPIC)
    told = {letter.value: dict(letter.headers)["reason"].decode() for letter in letters}
    assert set(told) == {value[:4_096] for value in JUNK}
    for value, reason in JUNK.items():
        assert told[value[:4_096]].startswith(reason), value[:100]
    assert len(letters) == len(JUNK) + 1 == progress_of(last).dead_letters
    places = {(dict(letter.headers)["partition"], dict(letter.headers)["offset"]) for letter in letters}
    assert len(places) == len(letters)
    wait_until(lambda: metric(aggregator.port, "emostream_aggregator_dead_letters_total") == len(letters))
    assert metric(aggregator.port, 'emostream_aggregator_reactions_total{event="main"}') == log.sent.total()
    assert metric(aggregator.port, "emostream_aggregator_sequence") == last.sequence
    # A batch of empty lists gives an empty swarm; an empty batch gives none.
    log.send_raw(b"[]")
    assert log.check()[-1].reactions == 0
    wait_until(lambda: metric(aggregator.port, "emostream_aggregator_lag_records") == 0)
    assert not log.check()[-1].reactions


def test_counts_beside_a_list_are_taken_for_it_and_nonsense_beside_it_is_not(counting: Counting) -> None:
    log = counting.log
    dead_letters = progress_of(log.swarms()[-1]).dead_letters
    one_reaction = encode([Reaction("u", "🔥", 1)])
    # The counts differ from the list on purpose.
    log.send_raw(one_reaction, [(COUNTS_HEADER, '{"👏": 3, "🎉": 1}'.encode())])
    log.sent.update({"👏": 3, "🎉": 1})
    log.send("🔥")
    log.check()
    values = ("many", "null", "0", "-1", "1.5", "9223372036854775807", "1e999")
    for nonsense in ("", "{", "[1]", "7", '{"word": 1}', *(f'{{"🔥": {value}, "👏": {value}}}' for value in values)):
        log.send_raw(one_reaction, [(COUNTS_HEADER, nonsense.encode())])
        log.sent["🔥"] += 1
        log.check()
    log.send_raw(one_reaction, [("another", b"{}"), (COUNTS_HEADER, b"{}")])
    log.sent["🔥"] += 1
    # The record is empty, so nothing of it is counted.
    log.send_raw(b"[]", [(COUNTS_HEADER, b"{}")])
    # If one record is invalid, the others of its batch are still counted.
    log.send_raw(one_reaction, [(COUNTS_HEADER, '{"🔥": 1}'.encode())])
    log.sent["🔥"] += 1
    log.send_raw(b"junk", [(COUNTS_HEADER, '{"🔥": 0}'.encode())])
    assert progress_of(log.check()[-1]).dead_letters == dead_letters + 1


def test_it_ends_when_it_is_told_to(counting: Counting) -> None:
    swarms = counting.log.check()
    counting.aggregator.process.terminate()
    assert counting.aggregator.end() == 0
    assert counting.log.check() == swarms


def test_an_outage_is_caught_up_with_in_steps_and_new_partitions_are_found(log: Log, start: Start) -> None:
    for _ in range(1_000):
        log.send("🔥", "👏")
    aggregator = start(max_records_per_trigger=300)
    swarms = log.check()
    assert len(swarms) >= 1 + 1_000 / 300
    assert max(swarm.reactions for swarm in swarms) <= 2 * 300
    topics.apply(log.settings.model_copy(update={"reactions_partitions": 6}), CLUSTERS)
    log.sent["😂"] += 2
    # A producer refreshes its partitions only every few minutes.
    with durable_producer(log.settings) as producer:
        for partition in (4, 5):
            producer.send(REACTIONS_TOPIC, model.encode([Reaction("u1", "😂", 1)]), partition=partition).get(60)
    log.check()
    # A new stream fences the aggregator, so it exits and does not add to the old stream.
    topics.apply(log.settings, CLUSTERS, new_stream=True)
    log.send("🔥")
    assert aggregator.end() == EXIT_OUTCOME_UNKNOWN
    assert log.swarms()[-1].sequence == 0
    assert progress_of(log.swarms()[-1]).offsets == progress_of(log.swarms()[-2]).offsets


def test_it_refuses_to_start_where_going_on_would_lose_reactions(log: Log, start: Start) -> None:
    for _ in range(10):
        log.send("🔥")
    log.producer.flush(60)
    with admin_client(log.settings.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(REACTIONS_TOPIC, p): end for p, end in log.ends().items()})
        _refuses(start(), "retention deleted")
        delete(log.settings, REACTIONS_TOPIC)
        topics.apply(log.settings, CLUSTERS)
        _refuses(start(), "recreated")
        admin.delete_records({TopicPartition(SWARMS_TOPIC, 0): 2})
        _refuses(start(), "swarms is empty")
        topics.apply(log.settings, CLUSTERS, new_stream=True)
    log.sent.clear()
    log.send("🔥")
    start()
    wait_until(log.is_counted, TIMEOUT_SECONDS, every_seconds=LOOK_SECONDS)
    assert log.swarms()[-1].counts == {"🔥": 1}


def _refuses(aggregator: Aggregator, reason: str) -> None:
    assert aggregator.end() == 1
    assert reason in aggregator.process.log_text()
    assert RECOVERY_COMMAND in aggregator.process.log_text()
