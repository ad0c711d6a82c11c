"""The emoji on machines with and without an emoji font."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from emostream import palette
from emostream_lab.machine.chromium import Browser
from emostream_lab.machine.firefox import Firefox

# Of each emoji, as the page draws it: the brightest pixel of the first drawing and of the best one, from 0 to 255. A
# box and a glyph of a text font are black.
BRIGHTNESS = """
    const { Sky } = await import("/sky.js");
    const brightest = async (emoji) => {
      const canvas = document.createElement("canvas");
      canvas.style.cssText = "width: 200px; height: 200px";
      document.body.append(canvas);
      const sky = new Sky(canvas);
      sky.still = true;
      sky.add("s-1", { [emoji]: 1 }, { [emoji]: 1 }, 0);
      let first = 0;
      let found = 0;
      while (found < 100 && sky.particles > 0) {
        await new Promise(requestAnimationFrame);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] > 200) found = Math.max(found, data[i], data[i + 1], data[i + 2]);
        }
        first ||= found;
      }
      canvas.remove();
      return [first, found];
    };
    const found = await Promise.all(args[0].map(async (emoji) => [emoji, await brightest(emoji)]));
    return Object.fromEntries(found);
"""
FACES = "return [...document.fonts].map((face) => face.status)"


@pytest.fixture
def without_emoji_font(tmp_path: Path) -> dict[str, str]:
    """An environment in which programs find DejaVu and no other font."""
    configuration = tmp_path / "fonts.conf"
    configuration.write_text(
        f"""<?xml version="1.0"?>
        <!DOCTYPE fontconfig SYSTEM "fonts.dtd">
        <fontconfig>
          <dir>/usr/share/fonts/truetype/dejavu</dir>
          <cachedir>{tmp_path / "font-cache"}</cachedir>
        </fontconfig>
        """
    )
    return {**os.environ, "FONTCONFIG_FILE": str(configuration)}


def test_every_emoji_of_the_palette_is_drawn_without_an_emoji_font(
    new_browser: Callable[..., Browser], without_emoji_font: dict[str, str], module_page: str
) -> None:
    browser = new_browser(without_emoji_font)
    browser.get(module_page)
    brightness: dict[str, list[int]] = browser.run(BRIGHTNESS, ["🦄", *palette.DEFAULT])
    assert max(brightness.pop("🦄")) < 20, "no font here has it, so this is what a box looks like"
    assert {emoji for emoji, found in brightness.items() if min(found) < 60} == set(), "no box, not even at first"
    assert browser.execute_script(FACES) == ["loaded"]


def test_the_font_is_not_loaded_where_the_machine_has_one(browser: Browser, module_page: str) -> None:
    browser.get(module_page)
    brightness: dict[str, list[int]] = browser.run(BRIGHTNESS, ["🔥", "❤\ufe0f", "⚽"])
    assert min(map(min, brightness.values())) >= 100
    # An emoji in a text, and beside it a sign that is in no emoji font.
    browser.run(
        """
        const { EMOJI_FONT } = await import("/emoji_font.js");
        const emoji = document.createElement("p");
        emoji.style.font = `20px ${EMOJI_FONT}`;
        for (const each of [document.body, emoji]) each.append("✓ 🔥");
        document.body.append(emoji);
        document.body.getBoundingClientRect();
        await new Promise(requestAnimationFrame);
        await document.fonts.ready;
        """
    )
    assert browser.execute_script(FACES) == ["unloaded"]


@pytest.mark.firefox
def test_firefox_draws_them_without_an_emoji_font_and_is_not_offered_ours(
    tmp_path: Path, without_emoji_font: dict[str, str], module_page: str
) -> None:
    with Firefox(tmp_path / "firefox", without_emoji_font) as firefox:
        firefox.get(module_page)
        brightness: dict[str, list[int]] = firefox.run(BRIGHTNESS, palette.DEFAULT)
        assert {emoji for emoji, found in brightness.items() if min(found) < 60} == set()
        assert firefox.run(FACES) == []
        assert firefox.complaints() == []
