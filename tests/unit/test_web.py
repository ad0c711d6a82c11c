"""The page uses what Safari 15.0 and Firefox 100 know, and its font has the palette's emoji."""

import re
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

import emostream.web
from emostream import palette

WEB = Path(emostream.web.__file__).parent

# What those browsers lack, by the version that brings it. Browser tests also delete the functions of this list.
TOO_NEW_IN_JAVASCRIPT = {
    "AbortSignal.any, AbortSignal.timeout (Safari 17.4 and 16)": r"AbortSignal\.(any|timeout)\b",
    "at, findLast and hasOwn (Safari 15.4)": r"\.(at|findLast|findLastIndex|hasOwn)\(",
    "copies of arrays, groupBy, withResolvers (Safari 16 to 17.4)": (
        r"\.(toSorted|toReversed|toSpliced|groupBy|withResolvers|fromAsync)\("
    ),
    "methods of iterators (Safari 18.4)": r"\.(values|keys|entries)\(\)\.(map|filter|take|drop|toArray|reduce|some)\(",
    "structuredClone (Safari 15.4)": r"\bstructuredClone\b",
    "streams of text (Firefox 105), pipes (Firefox 102)": r"TextDecoderStream|TextEncoderStream|\.pipe(Through|To)\(",
    "reading a stream by for await (no Safari)": r"for await",
    "OffscreenCanvas and roundRect (Safari 16.4 and 16)": r"\bOffscreenCanvas\b|\.roundRect\(",
    "randomUUID and throwIfAborted (Safari 15.4)": r"\.(randomUUID|throwIfAborted)\(",
    "requestIdleCallback (no Safari)": r"\brequestIdleCallback\b",
    "static blocks and look-behind (Safari 16.4)": r"static \{|\(\?<[=!]",
    "import attributes (Safari 17.2)": r"from \"[^\"]*\" with \{",
}
TOO_NEW_IN_CSS = {
    "light-dark and color-mix (Firefox 120 and 113)": r"\b(light-dark|color-mix)\(",
    "colour spaces (Firefox 113)": r"\b(oklch|oklab|lch|lab|color)\(",
    ":has (Firefox 121)": r":has\(",
    "nesting (Firefox 117)": r"^\s*&|;[^;{}@]*\{",
    "layers, containers and properties (Safari 15.4 to 16.4)": r"@(layer|container|property|scope|starting-style)\b",
    "ranges in media queries (Safari 16.4)": r"@media[^{]*[<>]",
    "overflow with two values (Safari 16)": r"\boverflow:\s*\w+\s+\w+",
    "text-wrap (Firefox 121)": r"\btext-wrap\b",
}
DYNAMIC_UNIT = re.compile(r"^(\s*[\w-]+:)(.*)\b(\d+)[dsl]vh\b(.*)$")


def sources(suffix: str) -> list[Path]:
    found = sorted(WEB.glob(f"*{suffix}"))
    assert found
    return found


def code_of(path: Path) -> str:
    """The file without its comments."""
    return re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", sources(".js"), ids=lambda path: path.name)
@pytest.mark.parametrize(("what", "pattern"), TOO_NEW_IN_JAVASCRIPT.items(), ids=TOO_NEW_IN_JAVASCRIPT)
def test_a_module_uses_nothing_that_is_too_new(path: Path, what: str, pattern: str) -> None:
    assert not re.findall(pattern, code_of(path)), what


@pytest.mark.parametrize("path", sources(".css"), ids=lambda path: path.name)
@pytest.mark.parametrize(("what", "pattern"), TOO_NEW_IN_CSS.items(), ids=TOO_NEW_IN_CSS)
def test_a_style_uses_nothing_that_is_too_new(path: Path, what: str, pattern: str) -> None:
    assert not re.findall(pattern, code_of(path), flags=re.MULTILINE), what


def test_dynamic_heights_have_a_fallback() -> None:
    lines = (WEB / "style.css").read_text().splitlines()
    dynamic = [(lines[index - 1], match) for index, line in enumerate(lines) if (match := DYNAMIC_UNIT.match(line))]
    assert dynamic
    for before, match in dynamic:
        assert before == f"{match[1]}{match[2]}{match[3]}vh{match[4]}", "Safari 15.4 brings dvh"


def test_the_font_has_the_default_palette_and_its_licence_beside_it() -> None:
    font = TTFont(WEB / "emoji.woff2")
    glyphs = font.getBestCmap()
    missing = {emoji for emoji in palette.DEFAULT if ord(emoji[0]) not in glyphs}
    assert missing == set(), "run python -m scripts.emoji_font"
    assert font["name"].getDebugName(1) == "EmoStream Emoji"
    assert (WEB / "emoji.woff2").stat().st_size < 500_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (WEB / "OFL.txt").read_text()
