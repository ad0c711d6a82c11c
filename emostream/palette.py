"""Which emoji are allowed, and the one way each is written: fully qualified, as Unicode names it."""

from collections.abc import Iterable, Mapping
from functools import cache

import emoji

_COMMON = "🔥 ❤️ 😂 👏 🎉 😍 😮 😢 😡 👍 👎 🙌 💯 🤯 🥳 🤩 😎 😭 🙏 💪 🚀 ⚽ 🏆 🥅 🟥 🟨 🧤 📣 🎶 💔 👀 🤝"
DEFAULT = tuple(_COMMON.split())


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
    """Every emoji there is in every spelling, with or without its variation selectors, to the fully qualified one."""
    usable = {emoji.STATUS["fully_qualified"], emoji.STATUS["minimally_qualified"], emoji.STATUS["unqualified"]}
    qualified = {
        data["en"]: text for text, data in emoji.EMOJI_DATA.items() if data["status"] == emoji.STATUS["fully_qualified"]
    }
    return {text: qualified[data["en"]] for text, data in emoji.EMOJI_DATA.items() if data["status"] in usable}
