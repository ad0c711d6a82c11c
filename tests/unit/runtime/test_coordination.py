"""Nodes that another program wrote where processes register."""

from types import SimpleNamespace

import pytest

from emostream.runtime.coordination import registrations


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff", b'{"url": "\xff"}', b"[]", b"[" * 100_000])
def test_a_node_that_cannot_be_read_is_taken_for_an_empty_one(content: bytes) -> None:
    client = SimpleNamespace(get_children=lambda _: ["a"], get=lambda _: (content, None))
    assert list(registrations(client, "/services")) == [("a", {})]
