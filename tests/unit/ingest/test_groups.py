"""Each request is in exactly one group, whole and in order, and what is in flight is bounded."""

import json

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, one_of
from hypothesis.strategies import just as exactly

from emostream import model
from emostream.ingest.groups import Group, Groups, NoRoomError


def item(number: int, size: int = 0) -> bytes:
    return json.dumps({"n": number, "pad": "x" * size}).encode()


def test_requests_share_a_group_until_its_time_is_over() -> None:
    groups: Groups[str] = Groups(1_000, 10, 10_000)
    assert not groups.has_open
    assert groups.close() is None
    assert groups.add("r1", {"🔥": 1}, item(1), "a") == []
    assert groups.add("r2", {"🔥": 1, "👏": 1}, item(2), "b") == []
    assert groups.has_open
    group = groups.close()
    assert group is not None
    assert group.waiters == ["a", "b"]
    assert group.reactions == {"main": 3}
    assert group.headers("ingest1:8000") == [
        (model.COUNTS_HEADER, '{"🔥":2,"👏":1}'.encode()),
        (model.REQUESTS_HEADER, b'{"ingest":"ingest1:8000","ids":{"main":["r1","r2"]}}'),
    ]
    assert [read["n"] for read in json.loads(group.record())] == [1, 2]
    assert not groups.has_open


def test_a_full_group_is_closed_at_once() -> None:
    groups: Groups[str] = Groups(100, 10, 10_000)
    (group,) = groups.add("r", {"🔥": 1}, item(1, 200), "a")
    assert group.waiters == ["a"]
    assert not groups.has_open


def test_a_request_that_does_not_fit_begins_the_next_group_and_is_never_split() -> None:
    groups: Groups[str] = Groups(100, 10, 10_000)
    groups.add("r", {"🔥": 1}, item(1, 50), "a")
    first, second = groups.add("r", {"🔥": 2, "👏": 1}, item(2, 200), "b")
    assert (first.waiters, second.waiters) == (["a"], ["b"])


@pytest.mark.parametrize(("max_requests", "max_bytes"), [(2, 10_000), (10, 30)])
def test_past_a_bound_a_request_is_refused_until_one_is_resolved(max_requests: int, max_bytes: int) -> None:
    groups: Groups[str] = Groups(1_000, max_requests, max_bytes)
    groups.add("r", {"🔥": 1}, item(1), "a")
    groups.add("r", {"🔥": 1}, item(2), "b")
    assert groups.is_full
    with pytest.raises(NoRoomError):
        groups.add("r", {"🔥": 1}, item(3), "c")
    group = groups.close()
    assert group is not None
    assert groups.is_full, "closing a group does not mean that it has arrived"
    groups.resolve(group)
    assert (groups.requests_in_flight, groups.bytes_in_flight) == (0, 0)
    assert groups.add("r", {"🔥": 1}, item(3), "c") == []


CLOSE = "close"
RESOLVE = "resolve"


@given(lists(one_of(integers(0, 300), exactly(CLOSE), exactly(RESOLVE)), max_size=60))
def test_each_request_taken_is_in_one_group_in_order_and_the_books_balance(steps: list[int | str]) -> None:
    max_requests, max_bytes = 12, 1_500
    groups: Groups[int] = Groups(256, max_requests, max_bytes)
    taken: list[int] = []
    sent: list[Group[int]] = []
    unresolved: list[Group[int]] = []
    sizes: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step == CLOSE:
            closed = [group] if (group := groups.close()) else []
        elif step == RESOLVE:
            closed = []
            if unresolved:
                groups.resolve(unresolved.pop(0))
        else:
            payload = item(number, int(step))
            try:
                closed = groups.add("r", {str(number): 1}, payload, number)
            except NoRoomError:
                assert groups.is_full
                continue
            taken.append(number)
            sizes[number] = len(payload)
        sent += closed
        unresolved += closed
        assert groups.requests_in_flight <= max_requests
        assert groups.bytes_in_flight < max_bytes + 400
    last = groups.close()
    sent += [last] if last else []
    unresolved += [last] if last else []
    assert [read["n"] for group in sent for read in json.loads(group.record())] == taken
    assert all(group.counts == {str(n): 1 for n in group.waiters} for group in sent)
    assert all(len(group.waiters) == 1 or sum(sizes[n] for n in group.waiters) <= 256 for group in sent)
    for group in unresolved:
        groups.resolve(group)
    assert (groups.requests_in_flight, groups.bytes_in_flight) == (0, 0)


def test_requests_for_several_events_share_a_record_that_counts_them_apart() -> None:
    groups: Groups[str] = Groups(1_000, 10, 10_000)
    groups.add("r1", {"🔥": 2}, item(1), "a")
    groups.add("r2", {"🔥": 1}, item(2), "b", "final")
    assert (groups.is_waiting("final"), groups.is_waiting("other")) == (True, False)
    group = groups.close()
    assert group is not None
    assert (group.reactions, groups.is_waiting("final")) == ({"main": 2, "final": 1}, False)
    assert group.headers("ingest1:8000") == [
        (model.COUNTS_HEADER, '{"🔥":2}'.encode()),
        (model.EVENT_COUNTS_HEADER, '{"final":{"🔥":1}}'.encode()),
        (model.REQUESTS_HEADER, b'{"ingest":"ingest1:8000","ids":{"main":["r1"],"final":["r2"]}}'),
    ]
