"""Whether a broker that answers can do its work: write transactions.

A broker that comes up loads the state of the transactions it coordinates. Kafka 3.9 never tries that again where the
broker's session in ZooKeeper ends meanwhile: it goes on to answer, and no transaction begins until it is started anew.
"""

import contextlib
import os
import socket
import time
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from emostream.errors import EmoStreamError
from emostream.runtime import tls

_STATE_TOPIC = "__transaction_state"
_POLL_SECONDS = 0.2
# A broker that is stopped takes connections too, so whoever asks must not wait for long.
_CONNECT_SECONDS = 1.0
_ANSWER_MS = 2_000


def is_ready(host: str, port: int, broker_id: int, data_dir: Path) -> bool:
    """Whether the broker answers, and has loaded the transactions' state that it may have in `data_dir`.

    Raises OSError where nothing answers.
    """
    socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    if not any(data_dir.glob(f"{_STATE_TOPIC}-*")):
        return True
    with contextlib.suppress(KafkaError), _admin(f"{host}:{port}") as admin:
        # It is told of its topics after it was told to load their state.
        (topic,) = admin.describe_topics([_STATE_TOPIC])
        admin.list_transactions(broker_ids=[broker_id])
        return not topic["error_code"]
    return False


def _admin(address: str) -> KafkaAdminClient:
    timeouts = {"bootstrap_timeout_ms": _ANSWER_MS, "request_timeout_ms": _ANSWER_MS}
    return KafkaAdminClient(bootstrap_servers=address, **timeouts, **tls.kafka_client_options())


def wait_until_ready(  # noqa: PLR0913, PLR0917 - the broker takes four of them
    host: str, port: int, broker_id: int, data_dir: Path, timeout_seconds: float, pid: int = 0
) -> None:
    """Return once it is. Raises EmoStreamError if it answers for this long and is not.

    Raises it too if the process `pid` has ended, which should become the broker.

    A broker that does not answer yet may recover its log. That takes as long as it takes, and would begin anew.
    """
    answers_since = None
    while True:
        if pid and not _exists(pid):
            raise EmoStreamError(f"the process of broker {broker_id} has ended before it was ready; its log says why.")
        try:
            if is_ready(host, port, broker_id, data_dir):
                return
            answers_since = answers_since or time.monotonic()
        except OSError:
            answers_since = None
        if answers_since and time.monotonic() > answers_since + timeout_seconds:
            raise EmoStreamError(
                f"broker {broker_id} at {host}:{port} answers, and has not loaded the state of its transactions after "
                f"{timeout_seconds:g} s: restart it."
            )
        time.sleep(_POLL_SECONDS)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
