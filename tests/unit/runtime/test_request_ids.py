"""The id of a request: nothing that a client sends can write into a log, and the time can be read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.runtime import request_ids

NOW_MS = 1_732_370_000_123


@pytest.mark.parametrize("sent", ["1732370000123-0a1b2c3d4e5f", "its.Own_id-1", "a", "x" * 64])
def test_what_is_well_formed_is_kept(sent: str) -> None:
    assert request_ids.of(sent, NOW_MS) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 65, "a b", "a\n", "a\r\nb: c", '"', "é", "１", "\x1b[2J"])
def test_what_is_not_is_replaced(sent: str | None) -> None:
    assert re.fullmatch(r"1732370000123-[0-9a-f]{12}", request_ids.of(sent, NOW_MS))


@given(st.text())
def test_every_id_is_short_and_plain(sent: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_ids.of(sent, NOW_MS), re.ASCII)


def test_ids_differ() -> None:
    assert len({request_ids.of(None, NOW_MS) for _ in range(1_000)}) == 1_000


def test_an_id_tells_when_its_request_came_if_it_begins_with_the_time() -> None:
    assert request_ids.time_ms(request_ids.of(None, NOW_MS)) == NOW_MS
    for other in ("its.Own_id-1", "1732370000123", "1732370000123-", "173237000012-a", "17323700001234-a"):
        assert request_ids.time_ms(other) is None
