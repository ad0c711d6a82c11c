"""Kafka as every tier uses it: producers that lose nothing, a reader of one ordered log, and its last record.

kafka-python's defaults are neither safe nor patient enough for us; the differences are set here, once.
"""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.runtime import dead_hosts, tls

# Longer than any outage: a batch that expires while it is retried leaves a gap in the producer's sequence numbers,
# after which every later send fails. Whoever waits for an acknowledgement has a deadline of his own.
_FOREVER_MS = 2**31 - 1
_BOOTSTRAP_TIMEOUT_MS = 30_000
# How long all brokers together may take to accept a connection, before the client tries one after the other.
_FIRST_ANSWER_SECONDS = 5.0

# By this, a new connection to a dead host is given up, at first and after several failures. All requests that need the
# broker wait for it, and metadata may too. kafka-python's own 10 s and 30 s are longer than an election.
_CONNECTION_SETUP = {"socket_connection_setup_timeout_ms": 2_000, "socket_connection_setup_timeout_max_ms": 4_000}


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    """kafka-python's connections, whose failures are all errors of Kafka."""

    async def _build_transport(self, *arguments: Any, **more: Any) -> Any:
        """Return a connection. Raises KafkaConnectionError.

        kafka-python lets an error of the socket through, such as a reset during the handshake. Its loop that refreshes
        the metadata expects errors of Kafka alone: it ended, and the client never heard of new leaders again.
        """
        try:
            return await super()._build_transport(*arguments, **more)
        except OSError as error:
            raise KafkaConnectionError(str(error)) from error


class _NetClient(KafkaNetClient):  # type: ignore[misc]
    """kafka-python's client, which outlives a broker that resets a connection, and the coordinator of transactions."""

    def __init__(self, **configs: Any) -> None:
        net = NetworkSelector(**configs)
        super().__init__(net=net, manager=_Connections(net, **configs), **configs)

    def await_ready(self, *arguments: Any, **more: Any) -> bool:
        """Return whether the broker could be connected to.

        kafka-python raises instead, although its producer expects this answer. After the error, the producer forgets
        the request that it had for the broker, and a commit waits for it for ever.
        """
        try:
            return bool(super().await_ready(*arguments, **more))
        except KafkaConnectionError:
            return False


# What every client is made with. A broker whose host has lost its power answers nothing, and nobody is told. Its
# successors lead after `zookeeper.session.timeout.ms` of the brokers; a client should have given it up by then.
_CLIENT: dict[str, Any] = {
    # By these, established connections to a dead host end. The first is kafka-python's own.
    "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *dead_hosts.socket_options()],
    # By this, a broker that hangs while its host lives is given up. A busy one may take seconds to answer.
    "request_timeout_ms": 10_000,
    "kafka_client": lambda **configs: _NetClient(**configs, **_CONNECTION_SETUP),
    # So soon a client that asks for nothing learns of new leaders too. The metadata are small.
    "metadata_max_age_ms": 5_000,
    "reconnect_backoff_ms": 50,
    "reconnect_backoff_max_ms": 1_000,
    "retry_backoff_ms": 20,
}


def durable_producer(settings: KafkaSettings, bootstrap_servers: Sequence[str] = (), **more: Any) -> KafkaProducer:
    """An idempotent producer: a record it acknowledges is in all in-sync replicas, once, in the order of sending.

    It never gives up on a record, and has no bound on what it holds: the caller bounds what is in flight.
    Raises EmoStreamError when no broker answers.
    """
    return _connect(
        KafkaProducer,
        bootstrap_servers or settings.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=_FOREVER_MS,
        max_request_size=settings.max_record_bytes,
        allow_auto_create_topics=False,
        metrics_enabled=False,
        **more,
    )


def abandon(producer: KafkaProducer, timeout_seconds: float) -> None:
    """End a producer in whatever state it is: what it still holds after the time-out fails, so that each send ends."""
    try:
        producer.close(timeout=timeout_seconds)
    except Exception:
        # It stops closing where a record is left, and has no other way to give that record up.
        producer._sender.force_close()
        producer._sender.join(timeout_seconds)


@contextlib.contextmanager
def abandoned_at_end(producer: KafkaProducer, timeout_seconds: float) -> Iterator[KafkaProducer]:
    """Ends the producer with the block. kafka-python's own `with` waits for every record, and so perhaps for ever."""
    try:
        yield producer
    finally:
        abandon(producer, timeout_seconds)


def transactional_producer(settings: KafkaSettings, transactional_id: str, timeout_ms: int) -> KafkaProducer:
    """A producer whose init_transactions() fences any earlier one of the same id. Raises EmoStreamError as above."""
    return durable_producer(settings, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)


def log_reader(bootstrap_servers: Sequence[str], max_record_bytes: int, **more: Any) -> KafkaConsumer:
    """A consumer of committed records that belongs to no group, commits nothing and never jumps over a gap silently.

    Assign and seek it before polling; a position outside the log raises OffsetOutOfRangeError from poll().
    Raises EmoStreamError when no broker answers.
    """
    return _connect(
        KafkaConsumer,
        bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        max_partition_fetch_bytes=2 * max_record_bytes,
        allow_auto_create_topics=False,
        metrics_enabled=False,
        **more,
    )


def admin_client(bootstrap_servers: Sequence[str]) -> KafkaAdminClient:
    """What makes and describes topics. Raises EmoStreamError when no broker answers."""
    return _connect(KafkaAdminClient, bootstrap_servers)


@contextlib.contextmanager
def explained_errors(bootstrap_servers: Sequence[str]) -> Iterator[None]:
    """Turns a broker's refusal or silence in this block into an EmoStreamError."""
    try:
        yield
    except KafkaError as error:
        raise EmoStreamError(
            f"the brokers of {','.join(bootstrap_servers)} did not do what they were asked ({error}): is "
            "kafka.service active on all of them, and are there as many as the settings require?"
        ) from error


def last_record(reader: KafkaConsumer, partition: TopicPartition, timeout_seconds: float = 30) -> Any | None:
    """The last committed record of a partition, or None where it holds none; the reader ends up behind it.

    Control records (commits, aborts) and aborted records take offsets too, so the search steps back from the end, twice
    as far each time. Raises EmoStreamError when an open transaction keeps the end from being read in time.
    """
    reader.assign([partition])
    beginning = reader.beginning_offsets([partition])[partition]
    # Uncommitted records at the end count too: reading must wait until each is committed or aborted.
    end = _end_of_log(reader, partition)
    step = 8
    while True:
        start = max(beginning, end - step)
        found = None
        for found in records_until(reader, partition, start, end, timeout_seconds):  # noqa: B007
            pass
        if found is not None or start == beginning:
            return found
        step *= 2


def _end_of_log(reader: KafkaConsumer, partition: TopicPartition) -> int:
    offset: int = reader.end_offsets([partition])[partition]
    return offset


def records_until(
    reader: KafkaConsumer, partition: TopicPartition, start: int, end: int, timeout_seconds: float
) -> Iterator[Any]:
    """The committed records from `start` until the position is at `end` or past it; the reader is assigned to it.

    The last fetch may reach past the end. Raises EmoStreamError when that takes too long.
    """
    deadline = time.monotonic() + timeout_seconds
    reader.seek(partition, start)
    while reader.position(partition) < end:
        if time.monotonic() > deadline:
            raise EmoStreamError(
                f"{partition.topic} could not be read to its end in {timeout_seconds:g} s: is a transaction still "
                "open, or a broker down?"
            )
        for batch in reader.poll(timeout_ms=200).values():
            yield from batch


def _connect(client: Any, bootstrap_servers: Sequence[str], **options: Any) -> Any:
    first = _first_to_answer(bootstrap_servers)
    try:
        options = {**_CLIENT, **tls.kafka_client_options(), **options}
        return client(bootstrap_servers=first, bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS, **options)
    except (KafkaError, OSError) as error:
        raise EmoStreamError(
            f"no broker of {','.join(bootstrap_servers)} answered in {_BOOTSTRAP_TIMEOUT_MS // 1000} s ({error}); "
            "is kafka.service active, and is EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error


def _first_to_answer(bootstrap_servers: Sequence[str]) -> list[str]:
    """The broker that accepts a connection first, or all of them if none does.

    The client picks one at random, and would wait for a dead one. It learns from any of them where the others are.
    """
    deadline = time.monotonic() + _FIRST_ANSWER_SECONDS
    with contextlib.ExitStack() as cleanup:
        selector = cleanup.enter_context(selectors.DefaultSelector())
        for server in bootstrap_servers:
            for connecting in _connecting(server):
                selector.register(cleanup.enter_context(connecting), selectors.EVENT_WRITE, server)
        while selector.get_map() and (ready := selector.select(deadline - time.monotonic())):
            for key, _ in ready:
                if _has_connected(key.fileobj):
                    return [key.data]
                selector.unregister(key.fileobj)
    return list(bootstrap_servers)


def _has_connected(connecting: Any) -> bool:
    return not connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _connecting(server: str) -> Iterator[socket.socket]:
    """A socket that is connecting to each address of the server."""
    host, _, port = server.rpartition(":")
    with contextlib.suppress(OSError):
        for family, kind, protocol, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
            connecting = socket.socket(family, kind, protocol)
            connecting.setblocking(False)
            if connecting.connect_ex(address) in {0, errno.EINPROGRESS}:
                yield connecting
            else:
                connecting.close()
