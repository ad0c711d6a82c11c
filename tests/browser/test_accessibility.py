"""axe-core finds no fault in the page and in the tag, and what it cannot see is looked at here."""

import re
from typing import Any

import pytest

from emostream_lab.machine.bootstrap import AXE
from emostream_lab.machine.chromium import Browser
from tests.browser.standin import StandIn
from tests.browser.test_viewers_page import open_page

# WCAG 2.2 to level AA, and axe's own best practices.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"desktop": (1280, 800, False), "phone": (390, 844, True), "landscape": (844, 390, True)}
MIN_CONTRAST = 4.5


def faults(browser: Browser) -> list[str]:
    """What axe-core finds on the page of the browser, one line for each place."""
    assert AXE.exists(), "`make test-browser` fetches axe-core"
    browser.execute_script(AXE.read_text())
    found: dict[str, Any] = browser.run("return axe.run({ runOnly: args[0] })", TAGS)
    assert found["passes"], "axe-core looked at nothing"
    return [f"{each['id']}: {node['target']} {node['html']}" for each in found["violations"] for node in each["nodes"]]


def open_whole_page(browser: Browser, standin: StandIn, path: str = "/") -> None:
    browser.get("about:blank")
    open_page(browser, standin, path)
    browser.wait_until(lambda: browser.find("#open-scenes").is_displayed())


def react_and_see(browser: Browser, standin: StandIn) -> None:
    """A page with totals, and with the note of a reaction that was counted."""
    browser.find("#bar >>> [part=bar] [data-emoji]").click()
    browser.wait_until(lambda: standin.taps)
    standin.swarm({"🔥": 3_912, "🎉": 40, "👏": 2})
    browser.wait_until(lambda: "3,912" in browser.text("#bar >>> [part=note]"))


@pytest.mark.parametrize(
    ("size", "scheme"), [("desktop", "dark"), ("desktop", "light"), ("phone", "light"), ("landscape", "dark")]
)
def test_axe_finds_no_fault(shared: Browser, standin: StandIn, size: str, scheme: str) -> None:
    width, height, is_phone = SIZES[size]
    shared.resize(width, height, mobile=is_phone)
    shared.prefer(prefers_color_scheme=scheme)
    open_whole_page(shared, standin)
    react_and_see(shared, standin)
    assert faults(shared) == []
    standin.refusal = (410, {"detail": "The event is closed."})
    shared.find("#bar >>> [part=bar] [data-emoji]").click()
    shared.wait_until(lambda: "was not sent" in shared.text("#bar >>> [part=note]"))
    shared.find("#bar >>> [part=more]").click()
    assert faults(shared) == []
    shared.find("#open-scenes").click()
    shared.wait_until(lambda: shared.find("#scenes").is_displayed())
    assert faults(shared) == []


@pytest.mark.parametrize("lang", ["hi", "ar"])
def test_axe_finds_no_fault_in_other_languages(shared: Browser, standin: StandIn, lang: str) -> None:
    shared.resize(1280, 800)
    open_whole_page(shared, standin, f"/?lang={lang}")
    standin.swarm({"🔥": 3_912})
    shared.wait_until(lambda: shared.find("#total").get_attribute("data-value") == "3912")
    assert faults(shared) == []
    direction = {"hi": "ltr", "ar": "rtl"}[lang]
    assert shared.execute_script("return getComputedStyle(document.body).direction") == direction
    assert shared.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def luminance(colour: tuple[float, ...]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def numbers(colour: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", colour)]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_is_readable_in_front_of_any_emoji_and_on_the_bars(shared: Browser, standin: StandIn, scheme: str) -> None:
    shared.resize(1280, 800)
    shared.prefer(prefers_color_scheme=scheme)
    open_whole_page(shared, standin)
    react_and_see(shared, standin)
    # Each text with the plate that it stands on. axe-core cannot tell what is behind a plate.
    plates = shared.execute_script(
        """
        const inBar = (selector) => document.getElementById("bar").shadowRoot.querySelector(selector);
        const of = (plate, text) => [getComputedStyle(plate).backgroundColor, getComputedStyle(text).color];
        const byId = (id) => document.getElementById(id);
        return {
          total: of(byId("score"), byId("total")),
          latency: of(byId("score"), byId("latency")),
          live: of(byId("connection"), byId("connection-text")),
          favourites: of(byId("totals"), byId("totals-title")),
          note: of(inBar("[part=note]"), inBar("[part=note]")),
        };
        """
    )
    for name, (plate, text) in plates.items():
        *surface, alpha = [*numbers(plate), 1.0][:4]
        for emoji in ((0, 0, 0), (255, 255, 255), (255, 204, 77), (221, 46, 68)):
            seen = tuple(alpha * part + (1 - alpha) * behind for part, behind in zip(surface, emoji, strict=True))
            assert contrast(seen, tuple(numbers(text)[:3])) >= MIN_CONTRAST, (name, emoji)
    ends = shared.execute_script(
        """
        const style = getComputedStyle(document.querySelector("#bars .bar"));
        return [style.backgroundImage, getComputedStyle(document.querySelector("#bars .count")).color];
        """
    )
    for colour in re.findall(r"rgba?\([^)]*\)", ends[0]):
        assert contrast(tuple(numbers(colour)[:3]), tuple(numbers(ends[1])[:3])) >= MIN_CONTRAST, colour


def test_the_order_of_the_focus_is_that_on_the_screen(shared: Browser, standin: StandIn) -> None:
    shared.resize(390, 844, mobile=True)
    open_whole_page(shared, standin)
    standin.swarm({"🔥": 5})
    places = shared.execute_script(
        """
        const seen = [...document.querySelectorAll("button, [tabindex='0'], #bar")].filter((each) => each.offsetParent);
        return seen.map((each) => [each.getBoundingClientRect().top, each.getBoundingClientRect().left]);
        """
    )
    rows = [round(top / 20) for top, _ in places]
    assert len(rows) >= 4
    assert rows == sorted(rows)
