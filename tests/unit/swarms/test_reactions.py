"""Which records of `reactions` count: the same table goes through the aggregator in its integration test."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream import palette
from emostream.audit.ledger import counts_of
from emostream.model import Reaction, encode
from emostream.swarms.reactions import is_emoji, judged
from emostream_lab.account.ledger import sent_by_others
from emostream_lab.chaos.junk import JUNK, ODD


@pytest.mark.parametrize("record", [*JUNK, None])
def test_a_record_that_is_set_aside_counts_nothing(record: bytes | None) -> None:
    assert judged(record) == []
    assert counts_of(record) == {}


@pytest.mark.parametrize("record", JUNK)
def test_a_record_that_is_set_aside_is_nobodys(record: bytes) -> None:
    assert not sent_by_others([record], "crowd-")


@pytest.mark.parametrize(("record", "counts"), ODD.items())
def test_an_odd_record_counts(record: bytes, counts: dict[str, int]) -> None:
    assert counts_of(record) == counts
    assert sent_by_others([record], "crowd-") == ({"main": counts} if counts else {})


def test_every_emoji_that_ingest_takes_is_one() -> None:
    assert not [emoji for emoji in set(palette.accepted(("any",)).values()) if not is_emoji(emoji)]


@given(st.lists(st.tuples(st.text(), st.sampled_from(palette.DEFAULT), st.integers(-(2**63), 2**63 - 1))))
def test_whatever_ingest_writes_counts(reactions: list[tuple[str, str, int]]) -> None:
    record = encode([Reaction(*reaction) for reaction in reactions])
    assert judged(record) == [(user, emoji, "main") for user, emoji, _ in reactions]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_record_is_too_odd(value: object) -> None:
    assert judged(json.dumps(value).encode()) == []


@given(st.binary())
def test_no_bytes_are_too_odd(record: bytes) -> None:
    assert counts_of(record) == {}
