"""Decides which records of `reactions` count, and reads their reactions. Pure: no input or output.

A record counts as a whole, or is set aside as a whole. The aggregator has the same rule in SQL. Code that checks the
aggregator uses this module. The tests run both on the records of `emostream_lab.chaos.junk`.
"""

import functools
import json
import unicodedata
from typing import Any

from emostream.model import MAIN, is_event_id

MAX_EMOJI_CHARACTERS = 16
_MIN_TIMESTAMP, _MAX_TIMESTAMP = -(2**63), 2**63 - 1
# The ASCII characters that occur in emoji, and the one emoji that is a letter.
_ALWAYS = frozenset("#*0123456789ℹ")

_decode_first = json.JSONDecoder().raw_decode


def judged(record: bytes | None) -> list[tuple[str, str, str]]:
    """Return the user, the emoji and the event of each reaction in a record. A record that is set aside has none.

    Like Spark's `from_json`, it accepts a user_id of any type except null. It ignores anything after the list, as long
    as the record ends with `]`.
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
    return [(str(item["user_id"]), item["emoji_type"], _event(item)) for item in items]


def _is_reaction(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("user_id") is None:
        return False
    timestamp, emoji = item.get("timestamp"), item.get("emoji_type")
    # In Python, a bool is an instance of int, so the type is compared exactly.
    is_timed = type(timestamp) is int and _MIN_TIMESTAMP <= timestamp <= _MAX_TIMESTAMP
    is_counted = is_timed and isinstance(emoji, str) and is_emoji(emoji)
    return is_counted and is_event_id(_event(item))


def _event(item: dict[str, Any]) -> str:
    """The event that a reaction names, `main` if it names none. Other JSON than text is taken as the text it is."""
    event = item.get("event")
    return MAIN if event is None else event if isinstance(event, str) else json.dumps(event)


@functools.lru_cache(4_096)
def is_emoji(text: str) -> bool:
    """Return whether this may be an emoji of some palette: short, without letters and spaces, and not ASCII alone."""
    return len(text) <= MAX_EMOJI_CHARACTERS and not text.isascii() and all(map(_may_be_in_emoji, text))


def _may_be_in_emoji(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _ALWAYS or not (character.isascii() or category[0] in "LZ" or category == "Cc")
