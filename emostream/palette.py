"""The palette: the emoji that a client may send, and their spellings.

One emoji can have several spellings. The system stores the one that Unicode calls fully qualified.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product

import emoji

_COMMON = "🔥 ❤️ 😂 👏 🎉 😍 😮 😢 😡 👍 👎 🙌 💯 🤯 🥳 🤩 😎 😭 🙏 💪 🚀 ⚽ 🏆 🥅 🟥 🟨 🧤 📣 🎶 💔 👀 🤝"
DEFAULT = tuple(_COMMON.split())

# Unicode's variation selectors. After a character, they ask for its emoji style or for its text style.
EMOJI_STYLE = "\ufe0f"
TEXT_STYLE = "\ufe0e"


def accepted(words: Iterable[str]) -> Mapping[str, str]:
    """Map each accepted spelling to the fully qualified emoji.

    Each word is one emoji, `default` or `any`. Raises ValueError for any other word.
    """
    chosen: set[str] = set()
    for word in words:
        if word == "any":
            return all_spellings()
        if word != "default" and word not in all_spellings():
            raise ValueError(f"{word!r} is not one emoji")
        chosen.update(DEFAULT if word == "default" else [all_spellings()[word]])
    return {spelling: qualified for spelling, qualified in all_spellings().items() if qualified in chosen}


def buttons(words: Iterable[str]) -> list[str]:
    """Return the palette's emoji in the order in which a page shows them. For `any`, these are the default ones."""
    shown: dict[str, None] = {}
    for word in words:
        shown.update(dict.fromkeys(DEFAULT if word in {"default", "any"} else [all_spellings()[word]]))
    return list(shown)


@cache
def all_spellings() -> Mapping[str, str]:
    """Map every spelling of every emoji to the fully qualified one.

    Unicode's emoji-variation-sequences.txt lists the characters that have variation selectors. Such a character is
    accepted with U+FE0F, with U+FE0E and with neither, because keyboards use all three.
    """
    return {spelling: emoji for emoji in _fully_qualified() for spelling in _spellings(emoji)}


def _fully_qualified() -> Iterator[str]:
    status = emoji.STATUS["fully_qualified"]
    return (text for text, data in emoji.EMOJI_DATA.items() if data["status"] == status)


def _spellings(text: str) -> Iterator[str]:
    bases = _bases_of_selectors()
    choices = [[each, each + EMOJI_STYLE, each + TEXT_STYLE] if each in bases else [each] for each in _bare(text)]
    return map("".join, product(*choices))


@cache
def _bases_of_selectors() -> frozenset[str]:
    variants = {_bare(text) for text, data in emoji.EMOJI_DATA.items() if data.get("variant")}
    # The library lists keycaps as whole sequences, so it does not mark the digits in them.
    return frozenset(variants | set("0123456789#*"))


def _bare(text: str) -> str:
    return text.replace(EMOJI_STYLE, "").replace(TEXT_STYLE, "")
