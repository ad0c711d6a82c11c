"""Whether a broker can do its work, whether all copies are in sync, and which broker is the controller.

A broker that comes up loads the state of the transactions it coordinates. Kafka 3.9 never tries that again where the
broker's session in ZooKeeper ends meanwhile: it goes on to answer, and no transaction begins until it is started anew.

It needs the standard library alone, and is also a script: a host of a broker runs it with the Python of its system. So
a broker starts whatever release of our packages the host has.
"""

import argparse
import contextlib
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_STATE_TOPIC = "__transaction_state"
_POLL_SECONDS = 0.2
# A broker that is stopped takes connections too, so whoever asks must not wait for long.
_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
# Requests of Kafka's protocol, with the version that is used here.
_METADATA = (3, 1)
_LIST_TRANSACTIONS = (66, 0)


class BrokerError(Exception):
    """A broker did not do what was waited for, with what to do about it."""


@dataclass(frozen=True)
class Partition:
    """A partition: its name as `topic/number`, the brokers that should have a copy, and those in sync."""

    name: str
    replicas: frozenset[int]
    in_sync: frozenset[int]


@dataclass(frozen=True)
class Metadata:
    """What a broker knows: ids of live brokers and of the controller, all partitions, and topics with an error."""

    brokers: frozenset[int]
    controller: int
    partitions: tuple[Partition, ...]
    failing: frozenset[str]

    def lacking(self) -> list[str]:
        """Return the partitions that have fewer copies in sync than they should have."""
        return [each.name for each in self.partitions if each.in_sync < each.replicas]


def is_ready(host: str, port: int, data_dir: Path) -> bool:
    """Whether the broker answers, and has loaded the transactions' state that it may have in `data_dir`.

    Raises OSError where nothing answers.
    """
    with socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as connection:
        if not any(data_dir.glob(f"{_STATE_TOPIC}-*")):
            return True
        with contextlib.suppress(OSError, struct.error), _encrypted(connection, host) as channel:
            # It is told of its topics after it was told to load their state.
            topics = _metadata(channel, [_STATE_TOPIC])
            return _lists_transactions(channel) and not topics.failing
    return False


def metadata(host: str, port: int) -> Metadata:
    """Return what the broker knows of its cluster. Raises OSError where it does not answer."""
    with socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as connection:
        try:
            with _encrypted(connection, host) as channel:
                return _metadata(channel, None)
        except struct.error:
            raise ConnectionError("the answer is none of Kafka's protocol") from None


def wait_until_ready(  # noqa: PLR0913, PLR0917 - the broker takes four of them
    host: str, port: int, broker_id: int, data_dir: Path, timeout_seconds: float, pid: int = 0
) -> None:
    """Return once it is. Raises BrokerError if it answers for this long and is not.

    Raises it too if the process `pid` has ended, which should become the broker.

    A broker that does not answer yet may recover its log. That takes as long as it takes, and would begin anew.
    """
    answers_since = None
    while True:
        if pid and not _exists(pid):
            raise BrokerError(f"the process of broker {broker_id} has ended before it was ready; its log says why.")
        try:
            if is_ready(host, port, data_dir):
                return
            answers_since = answers_since or time.monotonic()
        except OSError:
            answers_since = None
        if answers_since and time.monotonic() > answers_since + timeout_seconds:
            raise BrokerError(
                f"broker {broker_id} at {host}:{port} answers, and has not loaded the state of its transactions after "
                f"{timeout_seconds:g} s: restart it."
            )
        time.sleep(_POLL_SECONDS)


def wait_until_in_sync(
    ask: Callable[[], Metadata], broker_id: int, timeout_seconds: float, say: Callable[[str], None] = print
) -> None:
    """Return once the broker is in the cluster that `ask` tells of, and no partition lacks a copy there.

    Raises BrokerError after the time-out. Says what is missing whenever this changes.
    """
    deadline = time.monotonic() + timeout_seconds
    said = ""
    while missing := _missing(ask, broker_id):
        if missing != said:
            say(missing)
            said = missing
        if time.monotonic() > deadline:
            raise BrokerError(
                f"after {timeout_seconds:g} s, {missing}. Another broker must not be stopped now. Bring back the one "
                "that is away or slow (systemctl status kafka, df /var/lib/kafka on each), and run this again."
            )
        time.sleep(_POLL_SECONDS)


def _missing(ask: Callable[[], Metadata], broker_id: int) -> str:
    try:
        known = ask()
    except OSError as error:
        return f"broker {broker_id} does not answer ({error})"
    # A broker that came up a moment ago knows nothing yet.
    if broker_id not in known.brokers:
        return f"broker {broker_id} is not in the cluster"
    lacking = known.lacking()
    return f"{len(lacking)} partitions are under-replicated, such as {lacking[0]}" if lacking else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _encrypted(connection: socket.socket, host: str) -> Iterator[socket.socket]:
    """The connection, with TLS if the environment names a CA and an identity."""
    connection.settimeout(_ANSWER_SECONDS)
    if not (ca_file := os.environ.get("EMOSTREAM_TLS_CA_FILE")):
        yield connection
        return
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(os.environ["EMOSTREAM_TLS_IDENTITY_FILE"])
    with context.wrap_socket(connection, server_hostname=host) as channel:
        yield channel


def _lists_transactions(channel: socket.socket) -> bool:
    """Whether the broker has loaded the transactions that it coordinates."""
    # Two empty lists of filters. Like the tags after each part, they are of the protocol's compact kind.
    answer = _ask(channel, _LIST_TRANSACTIONS, b"\1\1\0", is_compact=True)
    _, _, error = struct.unpack_from(">bih", answer)
    return bool(error == 0)


def _metadata(channel: socket.socket, topics: list[str] | None) -> Metadata:
    """Ask about these topics, or about all."""
    body = struct.pack(">i", -1 if topics is None else len(topics)) + b"".join(map(_packed, topics or []))
    answer = _Reader(_ask(channel, _METADATA, body))
    brokers = set()
    for _ in range(answer.number("i")):
        brokers.add(answer.number("i"))
        # Its host, port and rack.
        answer.text()
        answer.number("i")
        answer.text()
    controller = answer.number("i")
    partitions, failing = [], set()
    for _ in range(answer.number("i")):
        error, topic, _ = answer.number("h"), answer.text(), answer.number("b")
        if error:
            failing.add(topic)
        for _ in range(answer.number("i")):
            # The error of a partition, such as a leader that is missing, shows in its copies.
            _, number, _ = answer.number("h"), answer.number("i"), answer.number("i")
            partitions.append(Partition(f"{topic}/{number}", answer.ids(), answer.ids()))
    return Metadata(frozenset(brokers), controller, tuple(partitions), frozenset(failing))


def _ask(channel: socket.socket, request: tuple[int, int], body: bytes, *, is_compact: bool = False) -> bytes:
    """Send a request, and return its answer after the number of the request."""
    # Number 1, of a client without a name.
    message = struct.pack(">hhih", *request, 1, -1) + (b"\0" if is_compact else b"") + body
    channel.sendall(struct.pack(">i", len(message)) + message)
    (size,) = struct.unpack(">i", _received(channel, 4))
    return _received(channel, size)[4:]


def _received(channel: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = channel.recv(size - len(content))
        if not part:
            raise ConnectionError("the broker ended the connection")
        content += part
    return content


def _packed(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


class _Reader:
    """Reads an answer from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, code: str) -> int:
        """The next integer, of struct's code `b`, `h` or `i`."""
        (value,) = struct.unpack_from(f">{code}", self._content, self._at)
        self._at += struct.calcsize(f">{code}")
        return int(value)

    def text(self) -> str:
        """The next text; empty for none."""
        size = max(self.number("h"), 0)
        self._at += size
        return self._content[self._at - size : self._at].decode()

    def ids(self) -> frozenset[int]:
        return frozenset(self.number("i") for _ in range(self.number("i")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("await", "in-sync", "is-controller"))
    parser.add_argument("--address", required=True, help="the broker's address, host:port")
    parser.add_argument("--id", type=int, required=True, help="its broker.id")
    parser.add_argument("--data", type=Path, help="for await: the folder of its data")
    parser.add_argument("--timeout", type=float, default=60, help="seconds after which it is given up")
    return parser.parse_args()


def main() -> None:
    """Wait for a broker, or exit 1 where that is in vain; `is-controller` exits 1 if it is not."""
    given = _arguments()
    host, _, port = given.address.rpartition(":")
    try:
        if given.what == "await":
            wait_until_ready(host, int(port), given.id, given.data, given.timeout, int(os.environ.get("MAINPID", "0")))
        elif given.what == "in-sync":
            wait_until_in_sync(lambda: metadata(host, int(port)), given.id, given.timeout)
        elif metadata(host, int(port)).controller != given.id:
            sys.exit(1)
    except (BrokerError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
