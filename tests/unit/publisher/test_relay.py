"""The relay loses nothing, repeats nothing that it knows of, and notices a recreated topic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import model
from emostream.publisher.relay import Decision, Relay, SourcePosition, source_position_of
from tests.unit.subscriber.examples import swarm

at = SourcePosition


def decisions(relay: Relay, *positions: SourcePosition) -> list[Decision]:
    return [relay.take(position) for position in positions]


def test_an_empty_cluster_gets_all_from_the_beginning() -> None:
    relay = Relay(None)
    assert relay.start_offset is None
    assert decisions(relay, at("s", 4, 9), at("s", 5, 11)) == [Decision.RELAY] * 2


def test_reading_begins_at_the_last_record_relayed_and_skips_it() -> None:
    relay = Relay(at("s", 4, 9))
    assert relay.start_offset == 9
    assert decisions(relay, at("s", 4, 9), at("s", 5, 11)) == [Decision.SKIP, Decision.RELAY]


def test_a_gap_and_a_new_stream_are_relayed_and_told() -> None:
    relay = Relay(at("s", 4, 9))
    relay.take(at("s", 4, 9))
    assert decisions(relay, at("s", 7, 12), at("t", 0, 13), at("t", 1, 14)) == [
        Decision.RELAY_AFTER_GAP,
        Decision.RELAY_NEW_STREAM,
        Decision.RELAY,
    ]


def test_another_stream_where_the_last_record_should_be_starts_over() -> None:
    relay = Relay(at("s", 4, 9))
    assert relay.take(at("t", 9, 9)) is Decision.START_OVER
    assert relay.start_offset is None
    assert decisions(relay, at("t", 0, 0), at("t", 1, 1)) == [
        Decision.RELAY_NEW_STREAM,
        Decision.RELAY,
    ]


def test_a_start_offset_that_is_gone_goes_on_with_what_there_is() -> None:
    relay = Relay(at("s", 4, 9))
    relay.start_over()
    assert relay.start_offset is None
    assert relay.take(at("s", 40, 90)) is Decision.RELAY_AFTER_GAP


@given(st.integers(1, 30), st.lists(st.integers(0, 30), max_size=5), st.data())
def test_whatever_ends_the_terms_the_cluster_gets_each_swarm_once(
    length: int, crashes: list[int], data: st.DataObject
) -> None:
    # Control records lie between the swarms, so offsets skip. A crash may lose what was not acknowledged.
    log = [at("s", sequence, 2 * sequence) for sequence in range(length)]
    cluster: list[SourcePosition] = []
    for crash_after in [*crashes, None]:
        relay = Relay(cluster[-1] if cluster else None)
        start = relay.start_offset or 0
        taken = [position for position in log if position.offset >= start and relay.take(position) is not Decision.SKIP]
        sent = taken if crash_after is None else taken[:crash_after]
        kept = len(sent) if crash_after is None else data.draw(st.integers(0, len(sent)))
        cluster += sent[:kept]
    assert cluster == log


def test_the_position_of_a_swarm() -> None:
    assert source_position_of(swarm("s", 7), 21) == at("s", 7, 21)


@pytest.mark.parametrize("wrong_id", ["s", "s-8", "-7"])
def test_a_swarm_that_contradicts_itself_has_none(wrong_id: str) -> None:
    wrong = model.Swarm(wrong_id, 7, model.Window(0, 1), 0, {}, {}, {})
    with pytest.raises(ValueError, match="is not that of"):
        source_position_of(wrong, 0)


def test_streams_that_are_over_are_skipped_when_reading_starts_over() -> None:
    relay = Relay(at("t", 4, 9))
    relay.start_over()
    assert decisions(
        relay,
        at("s", 0, 0),
        at("s", 7, 1),
        at("t", 4, 2),
        at("t", 5, 3),
    ) == [
        Decision.SKIP,
        Decision.SKIP,
        Decision.SKIP,
        Decision.RELAY,
    ]
