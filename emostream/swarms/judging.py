"""Which records of `reactions` count, and what is in them. Pure.

A record counts entirely, or is set aside entirely. The aggregator has the same rule in SQL; whoever checks the
aggregator judges by this module. Both are tested on the records of `emostream_lab.chaos.junk`.
"""

import functools
import json
import unicodedata
from typing import Any

MAX_EMOJI_CHARACTERS = 16
_MIN_TIMESTAMP, _MAX_TIMESTAMP = -(2**63), 2**63 - 1
# ASCII characters that are part of an emoji, and the one emoji that is a letter.
_ALWAYS = frozenset("#*0123456789ℹ")

_decode_first = json.JSONDecoder().raw_decode


def reactions_in(record: bytes | None) -> list[tuple[str, str]]:
    """User and emoji of each reaction; empty for a record that is set aside, and for an empty list.

    Like Spark's `from_json`, it takes a user_id of any type but null, and ignores what follows the list as long as the
    record ends with `]`.
    """
    try:
        text = (record or b"").decode().strip(" ")
        if not (text.startswith("[") and text.endswith("]")):
            return []
        items, _ = _decode_first(text)
    except (ValueError, RecursionError):
        return []
    if not all(map(_is_reaction, items)):
        return []
    return [(str(item["user_id"]), item["emoji_type"]) for item in items]


def _is_reaction(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("user_id") is None:
        return False
    timestamp, emoji = item.get("timestamp"), item.get("emoji_type")
    # To Python a bool is an int too.
    is_timed = type(timestamp) is int and _MIN_TIMESTAMP <= timestamp <= _MAX_TIMESTAMP
    return is_timed and isinstance(emoji, str) and is_emoji(emoji)


@functools.lru_cache(4_096)
def is_emoji(text: str) -> bool:
    """Whether this may be an emoji of any palette: short, and not of letters, spaces, or ASCII alone."""
    return len(text) <= MAX_EMOJI_CHARACTERS and not text.isascii() and all(map(_may_be_in_emoji, text))


def _may_be_in_emoji(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _ALWAYS or not (character.isascii() or category[0] in "LZ" or category == "Cc")
