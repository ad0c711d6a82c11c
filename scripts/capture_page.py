"""Makes the pictures of docs/media from a running demo: `make demo`, and beside it `python -m scripts.capture_page`.

page.webp is a short film of real frames, each shown as long as it lasted; the others are still.
"""

import argparse
import base64
import io
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Browser

MEDIA = Path(__file__).parent.parent / "docs" / "media"
SCREEN = (1280, 800)
PHONE = (390, 844)
FILM_WIDTH = 800
TAPS = ("🔥", "🎉", "😍", "🔥", "🚀")


def open_page(browser: Browser, url: str) -> None:
    """Wait until the page shows the room as it is."""
    browser.get(url)
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "live")
    browser.wait_until(lambda: browser.execute_script("return emostream.swarm.particles > 5"), 60)
    time.sleep(6)


def show_scenes(browser: Browser) -> None:
    browser.find("#open-scenes").click()
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .line[data-flowing=yes]"))


class Film:
    """Frames as they come, with the time of each."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._frames: list[Image.Image] = []
        self._times: list[float] = []

    def shoot(self, seconds: float, acts: dict[float, Callable[[], None]] | None = None) -> None:
        """Film for so long; `acts` happen at their second."""
        due = dict(sorted((acts or {}).items()))
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            for at in [at for at in due if at <= now]:
                due.pop(at)()
            self._times.append(time.monotonic())
            self._frames.append(self._grab())

    def _grab(self) -> Image.Image:
        shot = self._browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "jpeg", "quality": 92})
        frame = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
        return frame.resize((FILM_WIDTH, FILM_WIDTH * frame.height // frame.width), Image.Resampling.LANCZOS)

    def save(self, path: Path) -> None:
        """An animated WebP, which begins again at its end."""
        times = [*self._times, time.monotonic()]
        durations = [int(1000 * (after - before)) for before, after in itertools.pairwise(times)]
        first, *others = self._frames
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=55, method=4)
        print(f"{path}: {len(self._frames)} frames, {path.stat().st_size >> 10} KiB")


def film(browser: Browser, url: str) -> None:
    """The room, a few taps, and one reaction followed."""
    browser.prefer(prefers_color_scheme="dark")
    open_page(browser, url)
    strip = Film(browser)

    def tap(emoji: str) -> Callable[[], None]:
        # By script: the driver's own click would wait for the film.
        return lambda: browser.execute_script(
            'document.querySelector(`#palette [data-emoji="${arguments[0]}"]`)?.click()', emoji
        )

    strip.shoot(6, {1 + index * 0.7: tap(emoji) for index, emoji in enumerate(TAPS)})
    show_scenes(browser)
    strip.shoot(7.5, {0.5: lambda: browser.execute_script('document.getElementById("follow-one").click()')})
    strip.save(MEDIA / "page.webp")


def stills(browser: Browser, url: str) -> None:
    """One picture of each, dark and light, on a desk and in a hand."""
    for name, size, scheme, is_behind in (
        ("page-dark.webp", SCREEN, "dark", False),
        ("page-light.webp", SCREEN, "light", False),
        ("topology.webp", SCREEN, "dark", True),
        ("phone.webp", PHONE, "light", False),
    ):
        browser.resize(*size, mobile=size == PHONE)
        browser.prefer(prefers_color_scheme=scheme)
        open_page(browser, url)
        if is_behind:
            show_scenes(browser)
            browser.find("#follow-one").click()
            browser.wait_until(lambda: browser.find_elements("css selector", "#follow-hops li"))
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        picture.save(MEDIA / name, quality=88, method=6)
        print(f"{MEDIA / name}: {(MEDIA / name).stat().st_size >> 10} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8001/", help="where the page is")
    url = parser.parse_args().url
    MEDIA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            browser.resize(*SCREEN)
            film(browser, url)
            stills(browser, url)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
