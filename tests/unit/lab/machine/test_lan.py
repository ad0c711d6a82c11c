"""Tests that the demo serves on the network only on request, at an address that other devices reach."""

from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab.machine import lan
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.topology import EVERY_ADDRESS, Layout


def environment_of(name: str, layout: Layout) -> dict[str, str]:
    (part,) = [part for part in topology.parts(layout) if part.name == name]
    return dict(part.process.environment)


def test_an_address_can_be_named() -> None:
    assert lan.address("192.168.1.20") == "192.168.1.20"


@pytest.mark.parametrize("setting", ["yes", "0", "192.168.1", "::1"])
def test_what_is_no_address_is_refused(setting: str) -> None:
    with pytest.raises(EmoStreamError, match=f"LAN={setting} is not an address"):
        lan.address(setting)


def test_without_it_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    for part in topology.parts(Layout(tmp_path)):
        assert EVERY_ADDRESS not in part.process.environment.values()


def test_with_it_viewers_are_sent_to_the_address(tmp_path: Path) -> None:
    layout = Layout(tmp_path, public_address="192.168.1.20")
    subscriber = environment_of("subscriber@9001", layout)
    assert subscriber["EMOSTREAM_SUBSCRIBER_ADVERTISED_URL"] == "http://192.168.1.20:9001"
    assert subscriber["EMOSTREAM_SUBSCRIBER_HOST"] == EVERY_ADDRESS
    registry = environment_of("registry", layout)
    assert registry["EMOSTREAM_REGISTRY_INGEST_URL"] == "http://192.168.1.20:8000"
    assert registry["EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS"] == f"{HOST}:9092"


def test_the_code_is_drawn_as_a_square() -> None:
    lines = lan.code("http://192.168.1.20:8001/").splitlines()
    # A half block is one module of the code wide and two modules high.
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == pytest.approx(len(lines[0]) / 2, abs=1)
