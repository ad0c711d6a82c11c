"""Makes the pictures of docs/media from a running demo.

Run `make demo STANDBY=1`, and at the same time `python -m scripts.capture_page`. page.webp is a short film of real
frames with their real durations. The other pictures are still.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import itertools
import json
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from emostream.client.connection import fetch
from emostream_lab.machine.chromium import Browser
from emostream_lab.processes.topology import Ports

MEDIA = Path(__file__).parent.parent / "docs" / "media"
SCREEN = (1280, 800)
PROJECTOR = (1600, 900)
PHONE = (390, 844)
FILM_WIDTH = 640
MIN_FRAME_SECONDS = 1 / 8
TAPS = ("🔥", "🎉", "😍", "🔥", "👏")


def open_page(browser: Browser, url: str) -> None:
    """Open the page and wait until it is live and shows reactions."""
    browser.get(url)
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "live")
    browser.wait_until(lambda: browser.execute_script("return emostream.tags[0].sky?.particles > 5"), 60)
    time.sleep(6)


def show_scenes(browser: Browser) -> None:
    browser.find("#open-scenes").click()
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .line[data-flowing=yes]"))


class Film:
    """Records the frames that Chromium draws, with their times. Use it as a context manager."""

    def __init__(self, browser: Browser) -> None:
        port = browser.capabilities["goog:chromeOptions"]["debuggerAddress"]
        targets = asyncio.run(fetch(f"http://{port}/json", 10)).body
        (page,) = [target for target in json.loads(targets) if target["type"] == "page"]
        self._connection = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._frames: list[tuple[float, bytes]] = []
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Film":
        self._reader.start()
        self._call(1, "Page.startScreencast", format="jpeg", quality=90, maxWidth=SCREEN[0], maxHeight=SCREEN[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._reader.join()

    def _read(self) -> None:
        """Keep frames until the connection is closed."""
        with contextlib.suppress(ConnectionClosed):
            for message in self._connection:
                event = json.loads(message)
                if event.get("method") == "Page.screencastFrame":
                    self._keep(**event["params"])

    def _keep(self, data: str, metadata: dict[str, float], sessionId: int) -> None:  # noqa: N803 - Chromium's name
        self._frames.append((metadata["timestamp"], base64.b64decode(data)))
        # Chromium sends the next frame after this one is acknowledged.
        self._call(2, "Page.screencastFrameAck", sessionId=sessionId)

    def _call(self, number: int, method: str, **params: object) -> None:
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))

    def save(self, path: Path) -> None:
        """Write an animated WebP that repeats. Frames above 8 per second are left out."""
        kept: list[tuple[float, bytes]] = []
        for at, data in self._frames:
            if not kept or at - kept[-1][0] >= MIN_FRAME_SECONDS:
                kept.append((at, data))
        times = [at for at, _ in kept]
        durations = [int(1000 * (after - before)) for before, after in itertools.pairwise(times)] + [1_000]
        first, *others = [_shrunk(data) for _, data in kept]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=40, method=4)
        print(f"{path}: {len(kept)} frames of {len(self._frames)}, {path.stat().st_size >> 10} KiB")


def _shrunk(data: bytes) -> Image.Image:
    frame = Image.open(io.BytesIO(data))
    return frame.resize((FILM_WIDTH, FILM_WIDTH * frame.height // frame.width), Image.Resampling.LANCZOS)


def film(browser: Browser, url: str) -> None:
    """Film the page, a few taps, and one reaction on its way through the pipeline."""
    browser.prefer(prefers_color_scheme="dark")
    open_page(browser, url)
    with Film(browser) as strip:
        time.sleep(1)
        for emoji in TAPS:
            browser.find(f'#bar >>> [data-emoji="{emoji}"]').click()
            time.sleep(0.5)
        time.sleep(3)
        show_scenes(browser)
        browser.find("#follow-one").click()
        browser.wait_until(lambda: browser.find_elements("css selector", "#follow-hops li"))
        time.sleep(5)
    strip.save(MEDIA / "page.webp")


def stills(browser: Browser, url: str) -> None:
    """Take still pictures of the page: dark and light, on a desktop and on a phone."""
    for name, size, scheme in (
        ("page-dark.webp", SCREEN, "dark"),
        ("page-light.webp", SCREEN, "light"),
        ("phone.webp", PHONE, "light"),
    ):
        browser.resize(*size, mobile=size == PHONE)
        browser.prefer(prefers_color_scheme=scheme)
        open_page(browser, url)
        save(browser, name)


def topology(browser: Browser, url: str) -> None:
    """Take a picture of the topology's page a moment after the leading aggregator was killed by its button."""
    browser.resize(*PROJECTOR)
    browser.prefer(prefers_color_scheme="dark")
    browser.get(f"{url}static/topology.html?lab={Ports.switch}")
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .line[data-flowing=yes]"))
    # The rates are those of ten seconds.
    time.sleep(12)
    aggregators = browser.find_all("#map .box.aggregator")
    next(each for each in aggregators if "stand-by" not in each.get_attribute("aria-label")).click()
    browser.find("#kill").click()
    browser.wait_until(lambda: browser.find_all("#map .box.aggregator[data-state=gone]"))
    save(browser, "topology.webp")


def save(browser: Browser, name: str) -> None:
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
            topology(browser, url)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
