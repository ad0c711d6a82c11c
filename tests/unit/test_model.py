"""The JSON of swarms and viewers' messages, and the ids that viewers resume by."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream.config import AggregatorSettings
from emostream.errors import EmoStreamError
from emostream.swarms.rules import Compression

SWARM = model.Swarm(
    id="k3v9-812",
    sequence=812,
    window=model.Window(1_000, 3_000),
    reactions=3785,
    counts={"🔥": 3785},
    swarm={"🔥": 4},
    totals={"🔥": 120_034, "👏": 9},
    progress=model.Progress("topic-id", {"0": 17}),
)


def test_a_swarm_in_kafka_comes_back_as_it_was() -> None:
    assert model.decode_swarm(model.encode(SWARM)) == SWARM


def test_a_viewer_gets_the_totals_of_the_swarms_own_emoji_and_no_progress() -> None:
    assert json.loads(model.encode(SWARM.for_viewers())) == {
        "type": "swarm",
        "id": "k3v9-812",
        "sequence": 812,
        "window": {"start": 1_000, "end": 3_000},
        "reactions": 3785,
        "counts": {"🔥": 3785},
        "swarm": {"🔥": 4},
        "totals": {"🔥": 120_034},
    }


@pytest.mark.parametrize(
    "message",
    [
        SWARM.for_viewers(),
        model.Snapshot("k3v9-1", 1, {"🔥": 2}),
        model.Reset("k3v9-1", 1, {}),
        model.Goodbye("slow"),
    ],
)
def test_each_viewers_message_is_told_apart_by_its_type(message: model.ViewerMessage) -> None:
    assert model.decode_stream_message(model.encode(message)) == message


@given(
    before=st.dictionaries(st.text(), st.integers(1, 10**12)),
    counts=st.dictionaries(st.text(), st.integers(1, 10**12)),
    sequence=st.integers(0, 10**17),
    compression=st.builds(Compression, st.integers(1, 5_000), st.sampled_from(["ceil", "floor"])),
)
def test_a_compact_swarm_holds_all_that_a_viewer_cannot_derive(
    before: model.Counts, counts: model.Counts, sequence: int, compression: Compression
) -> None:
    swarm = model.Swarm(
        id=f"k3v9-{sequence}",
        sequence=sequence,
        window=model.Window(1_000, 3_000),
        reactions=sum(counts.values()),
        counts=counts,
        swarm={emoji: compression.of(count) for emoji, count in counts.items()},
        totals={emoji: before.get(emoji, 0) + count for emoji, count in counts.items()},
    )
    compact = model.encode(model.CompactSwarm.of(swarm))
    read = model.decode_compact_message(compact)
    assert isinstance(read, model.CompactSwarm)
    assert read.expand(before) == swarm


def test_the_default_rule_adds_nothing_to_a_compact_swarm() -> None:
    settings = AggregatorSettings()
    rule = Compression(settings.compression_ratio, settings.compression_rule)
    counts = {"🔥": 1, "👏": 1_000, "🎉": 1_001, "😂": 10**9}
    shown = {emoji: rule.of(count) for emoji, count in counts.items()}
    assert model.CompactSwarm.of(model.Swarm("s-1", 1, model.Window(0, 1), 0, counts, shown, counts)).swarm == {}


def test_fields_that_a_reader_does_not_know_are_ignored() -> None:
    newer = {**json.loads(model.encode(SWARM)), "mood": "great"}
    assert model.decode_swarm(json.dumps(newer).encode()) == SWARM


def test_what_is_no_swarm_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        model.decode_swarm(b'{"type": "swarm", "id": "x-1"}')


@given(st.text("0123456789abcdef-", min_size=1), st.integers(0, 10**17))
def test_a_message_id_gives_back_its_stream_and_sequence(stream: str, sequence: int) -> None:
    assert model.parse_message_id(model.message_id(stream, sequence)) == (stream, sequence)


@pytest.mark.parametrize("text", ["", "812", "-812", "k3v9-", "k3v9-x", "k3v9-1.5", "k3v9-²", "k3v9-" + "9" * 19])
def test_a_malformed_message_id_is_none(text: str) -> None:
    assert model.parse_message_id(text) is None


@given(st.lists(st.integers(0, 10**13), min_size=2))
def test_a_later_stream_has_the_greater_id_whatever_the_clock_says(clock_ms: list[int]) -> None:
    ids = [model.new_stream_id(clock_ms[0])]
    for now_ms in clock_ms[1:]:
        ids.append(model.new_stream_id(now_ms, ids[-1]))
    assert ids == sorted(set(ids))


def test_without_an_earlier_stream_time_alone_sorts_them() -> None:
    assert model.new_stream_id(1_732_370_000_123) < model.new_stream_id(1_732_370_000_124)


@pytest.mark.parametrize("data", [b"", b"{", b'{"type": "\xff"}', b"[" * 100_000])
@pytest.mark.parametrize(
    "decode", [model.decode_swarm, model.decode_stream_message, lambda data: model.decode(data, list)]
)
def test_what_is_no_json_is_told_by_one_error(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_each_event_has_a_path_of_its_own() -> None:
    assert model.event_path("main") == "/v1"
    assert model.event_path("final-2") == "/v1/events/final-2"


@pytest.mark.parametrize("event", [".", "..", "a/b", "a?b", "%2E", "Final", "é", "a\n", ""])
def test_what_is_no_id_of_an_event_has_no_path(event: str) -> None:
    with pytest.raises(EmoStreamError, match="is no id of an event"):
        model.event_path(event)
