"""What an operator is told where the topics are not there, or where the brokers refuse a writer."""

from collections.abc import Callable

import pytest

from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.swarms import log
from emostream.swarms.log import SwarmLog, describe_reactions, last_swarm
from tests.conftest import Server


@pytest.fixture
def settings(kafka: Server) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(kafka.address,))


@pytest.mark.parametrize(("topic", "ask"), [("REACTIONS_TOPIC", describe_reactions), ("SWARMS_TOPIC", last_swarm)])
def test_a_missing_topic_is_named_with_the_command_that_makes_it(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, topic: str, ask: Callable[[KafkaSettings], object]
) -> None:
    monkeypatch.setattr(log, topic, "absent")
    with pytest.raises(EmoStreamError, match="there is no topic absent: run `emostream topics apply`"):
        ask(settings)


def test_the_reason_for_which_the_brokers_refuse_a_writer_is_told(settings: KafkaSettings) -> None:
    with pytest.raises(EmoStreamError, match="InvalidTransactionTimeout"):
        SwarmLog(settings, transaction_timeout_ms=10**9)
