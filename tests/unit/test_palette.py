"""Each emoji has one spelling inside, whichever a keyboard sends."""

import emoji
import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from

from emostream import palette
from emostream.config import IngestSettings, load
from emostream.errors import ConfigurationError

EMOJI_STYLE = "\ufe0f"
TEXT_STYLE = "\ufe0e"
SELECTORS = ("", EMOJI_STYLE, TEXT_STYLE)


def bare(text: str) -> str:
    """The text without its variation selectors."""
    return text.replace(EMOJI_STYLE, "").replace(TEXT_STYLE, "")


def test_there_are_32_default_emoji_each_fully_qualified_and_shown_once() -> None:
    assert len(set(palette.DEFAULT)) == len(palette.DEFAULT) == 32
    assert palette.buttons(("default",)) == list(palette.DEFAULT)
    assert all(palette.accepted(("default",))[text] == text for text in palette.DEFAULT)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("❤", "❤️"), ("❤️", "❤️"), ("👩‍❤‍👩", "👩‍❤️‍👩"), ("👍🏽", "👍🏽"), ("🇮🇳", "🇮🇳"), ("1⃣", "1️⃣")],
)
def test_any_takes_each_spelling_of_an_emoji_and_stores_the_qualified_one(sent: str, stored: str) -> None:
    assert palette.accepted(("any",))[sent] == stored


def test_each_spelling_that_unicode_lists_is_accepted() -> None:
    listed = {text for text, data in emoji.EMOJI_DATA.items() if data["status"] != emoji.STATUS["component"]}
    assert listed <= palette.all_spellings().keys()


def test_every_emoji_that_has_variants_is_one_emoji_with_either_selector_and_without() -> None:
    accepted = palette.accepted(("any",))
    variants = {bare(text) for text, data in emoji.EMOJI_DATA.items() if data.get("variant")}
    assert len(variants) == 359, "371 characters of emoji-variation-sequences.txt less the 12 of keycaps"
    for base in variants:
        assert len({accepted[base + selector] for selector in SELECTORS}) == 1, base
    for base in "0123456789#*":
        for selector in SELECTORS:
            assert accepted[f"{base}{selector}\u20e3"] == f"{base}{EMOJI_STYLE}\u20e3"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("⚽\ufe0f", "⚽"),
        ("👍\ufe0f", "👍"),
        ("🏆\ufe0f", "🏆"),
        ("⚽\ufe0e", "⚽"),
        ("❤\ufe0e", "❤\ufe0f"),
        ("👍\ufe0f🏽", "👍🏽"),
        ("👁\ufe0e\u200d🗨", "👁\ufe0f\u200d🗨\ufe0f"),
    ],
)
def test_a_selector_that_a_keyboard_adds_does_not_make_another_emoji(sent: str, stored: str) -> None:
    assert palette.accepted(("any",))[sent] == stored
    assert palette.accepted((sent,))[stored] == stored
    assert palette.buttons((sent,)) == [stored]


@given(sampled_from(sorted(palette.all_spellings())))
def test_spellings_differ_in_variation_selectors_alone(text: str) -> None:
    qualified = palette.all_spellings()[text]
    assert bare(qualified) == bare(text)
    assert emoji.EMOJI_DATA[qualified]["status"] == emoji.STATUS["fully_qualified"]


@pytest.mark.parametrize(
    "text", ["", "fire", ":fire:", "5", "🔥🔥", "🔥 ", "🔥\ufe0f", "❤\ufe0f\ufe0f", "🦄", "🏽", EMOJI_STYLE, TEXT_STYLE]
)
def test_whatever_else_is_not_in_the_default_palette(text: str) -> None:
    assert text not in palette.accepted(("default",))


def test_a_palette_may_be_named_emoji_by_emoji_in_any_spelling() -> None:
    assert palette.accepted(("❤", "🦄")) == {**{"❤" + selector: "❤\ufe0f" for selector in SELECTORS}, "🦄": "🦄"}
    assert palette.buttons(("❤", "🦄")) == ["❤️", "🦄"]
    assert palette.buttons(("🦄", "default"))[:2] == ["🦄", palette.DEFAULT[0]]


@pytest.mark.parametrize("word", ["fire", "", "🔥🔥", "Default"])
def test_a_word_that_is_no_emoji_is_refused_with_the_setting_s_name(word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"EMOSTREAM_INGEST_PALETTE=.*'{word}' is not one emoji"):
        load(IngestSettings, palette=("default", word))
