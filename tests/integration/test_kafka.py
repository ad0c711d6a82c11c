"""The last record of a log is found behind control records, aborted records and an open transaction."""

import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from emostream.config import KafkaSettings
from emostream.kafka import durable_producer, last_record, log_reader, transactional_producer
from tests.conftest import Server


@pytest.fixture
def settings(kafka: Server) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(kafka.address,))


@pytest.fixture
def partition(kafka: Server) -> TopicPartition:
    topic = f"log-{uuid.uuid4().hex[:8]}"
    with KafkaAdminClient(bootstrap_servers=kafka.address) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])
    return TopicPartition(topic, 0)


@pytest.fixture
def reader(settings: KafkaSettings) -> Iterator[KafkaConsumer]:
    with log_reader(settings.bootstrap_servers, settings.max_record_bytes) as consumer:
        yield consumer


def test_an_empty_log_has_no_last_record(reader: KafkaConsumer, partition: TopicPartition) -> None:
    assert last_record(reader, partition) is None


def test_the_last_record_of_a_plain_log(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with durable_producer(settings) as producer:
        for value in (b"first", b"second"):
            producer.send(partition.topic, value, partition=0).get(10)
    assert last_record(reader, partition).value == b"second"


def test_the_last_committed_record_is_found_behind_many_aborted_ones(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with transactional_producer(settings, partition.topic, 10_000) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(partition.topic, b"committed", partition=0)
        producer.commit_transaction()
        for _ in range(20):
            producer.begin_transaction()
            producer.send(partition.topic, b"aborted", partition=0).get(10)
            producer.abort_transaction()
    assert last_record(reader, partition).value == b"committed"


def test_what_a_dead_writer_left_open_is_waited_for_and_not_read(
    settings: KafkaSettings, reader: KafkaConsumer, partition: TopicPartition
) -> None:
    with transactional_producer(settings, partition.topic, 10_000) as dead:
        dead.init_transactions()
        dead.begin_transaction()
        dead.send(partition.topic, b"committed", partition=0)
        dead.commit_transaction()
        dead.begin_transaction()
        dead.send(partition.topic, b"left open", partition=0).get(10)
        with transactional_producer(settings, partition.topic, 10_000) as successor:
            successor.init_transactions()
            assert last_record(reader, partition).value == b"committed"
