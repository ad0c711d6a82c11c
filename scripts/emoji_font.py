"""Makes the emoji font of the page, emostream/web/emoji.woff2, from the default palette's glyphs of Noto Color Emoji.

Run `python -m scripts.emoji_font` when the default palette changes, after `apt-get install fonts-noto-color-emoji`.

The glyphs stay bitmaps (CBDT), as in Debian's package. Chromium draws these on Linux, where an emoji font may be
missing. Firefox does not, and brings an emoji font of its own. Windows, macOS, iOS and Android have an emoji font, and
the page prefers it.

The font is under the SIL Open Font License, whose text is emostream/web/OFL.txt. A changed font must not bear a
reserved name. Noto Color Emoji reserves none, but Noto is a trademark, so this font is called EmoStream Emoji.
"""

import argparse
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from emostream import palette, web

SOURCE = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
TARGET = Path(web.__file__).parent / "emoji.woff2"
FAMILY = "EmoStream Emoji"
_NAMES = {1: FAMILY, 3: FAMILY, 4: FAMILY, 6: FAMILY.replace(" ", "")}
# Copyright, version, trademark, description, licence and its address.
_KEPT_NAME_IDS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 13, 14]


def make(source: Path, target: Path) -> None:
    """Write the subset of `source` to `target`. The same source gives the same bytes."""
    font = TTFont(source, recalcTimestamp=False)
    options = Options(name_IDs=_KEPT_NAME_IDS, layout_features=[])
    subsetter = Subsetter(options)
    subsetter.populate(text="".join(palette.DEFAULT) + palette.EMOJI_STYLE + palette.TEXT_STYLE)
    subsetter.subset(font)
    for record in font["name"].names:
        record.string = _NAMES.get(record.nameID, record.toUnicode())
    font.flavor = "woff2"
    font.save(target)
    print(f"{target}: {len(font.getGlyphOrder())} glyphs, {target.stat().st_size >> 10} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE, help="a Noto Color Emoji with bitmaps")
    parser.add_argument("--target", type=Path, default=TARGET, help="where to write the font")
    arguments = parser.parse_args()
    make(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
