"""Which emoji are allowed, in which spellings. Each emoji is stored fully qualified, as Unicode names it."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product

import emoji

_COMMON = "🔥 ❤️ 😂 👏 🎉 😍 😮 😢 😡 👍 👎 🙌 💯 🤯 🥳 🤩 😎 😭 🙏 💪 🚀 ⚽ 🏆 🥅 🟥 🟨 🧤 📣 🎶 💔 👀 🤝"
DEFAULT = tuple(_COMMON.split())

# Unicode's variation selectors: what follows a character to ask for its look as an emoji, or as text.
EMOJI_STYLE = "\ufe0f"
TEXT_STYLE = "\ufe0e"


def accepted(words: Iterable[str]) -> Mapping[str, str]:
    """Each accepted spelling of the palette's emoji, with the fully qualified one.

    A word is an emoji, `default` or `any`. Raises ValueError where it is none of these.
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
    """The palette's emoji in the order in which a page shows them; of `any` the default ones."""
    shown: dict[str, None] = {}
    for word in words:
        shown.update(dict.fromkeys(DEFAULT if word in {"default", "any"} else [all_spellings()[word]]))
    return list(shown)


@cache
def all_spellings() -> Mapping[str, str]:
    """Every spelling of every emoji, to the fully qualified one.

    A character that has a variation selector in Unicode's emoji-variation-sequences.txt may be followed by U+FE0F, by
    U+FE0E or by none. Keyboards use all three.
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
