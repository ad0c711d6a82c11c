"""What a record says of a request, and with which id the viewers of an event see the swarm that counts it."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from emostream import model
from emostream.model import EventPart, Requests
from emostream.operate.trace import counts, holds, message_of
from emostream.swarms.rules import Batch, Changes, Compression, Group, ReactionsTopic, changed_swarm, first_swarm
from emostream.swarms.rules import next_swarm as after


def record(*headers: tuple[str, bytes]) -> Any:
    return SimpleNamespace(headers=[("counts", b"{}"), *headers])


def test_a_record_names_the_event_of_each_of_its_requests() -> None:
    requests = Requests("ingest1:8000", {"main": ["a", "b"], "final": ["c"]})
    written = record((model.REQUESTS_HEADER, model.encode(requests)))
    for request, event in (("a", "main"), ("c", "final")):
        found = holds(written, request)
        assert found is not None
        assert (found.event, found.requests) == (event, requests)
    assert holds(written, "d") is None


@pytest.mark.parametrize("value", [b"", b"junk", b"[]", b'{"ingest":1,"ids":{}}'])
def test_a_record_of_somebody_else_holds_no_request(value: bytes) -> None:
    assert holds(record(), "a") is None
    assert holds(record((model.REQUESTS_HEADER, value)), "a") is None


def test_a_swarm_counts_what_it_covers_and_has_an_id_for_each_event() -> None:
    start = first_swarm("s", ReactionsTopic("t", beginnings={0: 0}, ends={0: 0}), None)
    opened = changed_swarm(start, Changes(opened={"final": "f"}), 1_000, 250)
    groups = [Group(0, "🔥", 1, 1, 0, 0), Group(0, "👏", 1, 1, 1, 1, "final")]
    swarm = after(opened, Batch({0: 2}, groups), 2_000, 250, Compression(1_000, "ceil"))
    assert [counts(swarm, 0, offset) for offset in (1, 2)] == [True, False]
    assert not counts(swarm, 1, 0)
    assert message_of(swarm, "main") == ("s-2", 2)
    assert message_of(swarm, "final") == ("f-1", 1)
    assert message_of(swarm, "other") is None
    # After the end of its event, the swarm comes before one more end.
    ended = EventPart("f", 4, {"👏": 1}, counts={"👏": 1}, swarm={"👏": 1}, ended=True)
    assert message_of(msgspec.structs.replace(swarm, events={"final": ended}), "final") == ("f-3", 3)
