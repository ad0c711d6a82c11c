"""Each emoji has one spelling inside, whichever a keyboard sends."""

import emoji
import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from

from emostream import palette
from emostream.config import IngestSettings, load
from emostream.errors import ConfigurationError

VARIATION_SELECTOR = "\ufe0f"


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


@given(sampled_from(sorted(palette.all_spellings())))
def test_spellings_differ_in_variation_selectors_alone(text: str) -> None:
    qualified = palette.all_spellings()[text]
    assert qualified.replace(VARIATION_SELECTOR, "") == text.replace(VARIATION_SELECTOR, "")
    assert emoji.EMOJI_DATA[qualified]["status"] == emoji.STATUS["fully_qualified"]


@pytest.mark.parametrize("text", ["", "fire", ":fire:", "5", "🔥🔥", "🔥 ", "🦄", "🏽", VARIATION_SELECTOR])
def test_whatever_else_is_not_in_the_default_palette(text: str) -> None:
    assert text not in palette.accepted(("default",))


def test_a_palette_may_be_named_emoji_by_emoji_in_any_spelling() -> None:
    assert palette.accepted(("❤", "🦄")) == {"❤": "❤️", "❤️": "❤️", "🦄": "🦄"}
    assert palette.buttons(("❤", "🦄")) == ["❤️", "🦄"]
    assert palette.buttons(("🦄", "default"))[:2] == ["🦄", palette.DEFAULT[0]]


@pytest.mark.parametrize("word", ["fire", "", "🔥🔥", "Default"])
def test_a_word_that_is_no_emoji_is_refused_with_the_setting_s_name(word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"EMOSTREAM_INGEST_PALETTE=.*'{word}' is not one emoji"):
        load(IngestSettings, palette=("default", word))
