"""The page as a viewer sees it, with a stand-in for the servers: what it says before, while and after it knows."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from emostream_lab.machine.chromium import Browser
from tests.browser.standin import StandIn


@pytest.fixture
def browser(shared_desktop: Browser) -> Browser:
    return shared_desktop


def open_page(browser: Browser, standin: StandIn, path: str = "/") -> None:
    browser.get(f"{standin.url}{path}")
    browser.wait_until(lambda: browser.execute_script("return window.emostream?.stream.sequence >= 0"))
    browser.wait_until(lambda: browser.find_all("#bar >>> [part=bar] [data-emoji]"))


def shows(browser: Browser, selector: str, text: str) -> None:
    browser.wait_until(lambda: browser.text(selector) == text)


def test_the_first_seconds_say_what_it_is_and_who_is_there(browser: Browser, standin: StandIn) -> None:
    open_page(browser, standin)
    shows(browser, "#connection-text", "LIVE, 501 watching")
    assert browser.text("#event-title") == "Live reactions"
    assert browser.find("#pitch").is_displayed()
    assert browser.text("#latency") == "Tap an emoji below"
    words = browser.find("body").text
    assert "cluster1" not in words, "operators' words are behind the scenes"
    browser.find("#open-scenes").click()
    shows(browser, "#served-by", "This page is connected to cluster1/9001.")


def test_no_number_is_shown_before_it_is_known(browser: Browser, standin: StandIn) -> None:
    standin.is_full = True
    browser.get(f"{standin.url}/")
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "waiting")
    assert [browser.text(each) for each in ("#total", "#rate")] == ["–", "–"]
    standin.is_full = False
    shows(browser, "#total", "0")
    nobody = browser.find("#nobody")
    assert (nobody.is_displayed(), nobody.text) == (True, "Nobody has reacted yet.")
    assert nobody.rect["height"] > 10
    standin.swarm({"🔥": 3})
    shows(browser, "#total", "3")
    assert not nobody.is_displayed()


def test_a_lost_connection_counts_the_seconds_and_shows_no_rate(browser: Browser, standin: StandIn) -> None:
    open_page(browser, standin)
    standin.swarm({"🔥": 4_000})
    browser.wait_until(lambda: browser.text("#rate") not in {"–", "0"})
    standin.lose()
    seen: set[str] = set()

    def countdown() -> bool:
        seen.add(browser.text("#connection-text"))
        return {f"Every subscriber is full; again in {seconds} s" for seconds in (2, 3)} <= seen

    browser.wait_until(countdown)
    assert browser.text("#rate") == "–"
    assert browser.text("#total") == "4,000", "the totals stay"


def test_a_note_is_gone_after_a_while(browser: Browser, standin: StandIn) -> None:
    open_page(browser, standin)
    standin.refusal = (410, {"detail": "The event is closed."})
    browser.find("#bar >>> [part=bar] [data-emoji]").click()
    note = "#bar >>> [part=note]"
    sign = """
        const button = document.getElementById("bar").shadowRoot.querySelector("[data-outcome]");
        return button && getComputedStyle(button, "::after").content;
    """
    browser.wait_until(lambda: browser.execute_script(sign) == '"✕"')
    shows(browser, note, "✕ 🔥 was not sent: The event is closed.")
    assert browser.find(note).get_attribute("role") == "status", "a screen reader tells it"
    shows(browser, note, "")


def test_the_control_stops_all_that_moves(browser: Browser, standin: StandIn) -> None:
    open_page(browser, standin)
    standin.swarm({"🔥": 400, "🎉": 30})
    particles = "return emostream.tags[0].sky.particles"
    browser.wait_until(lambda: browser.execute_script(particles) > 0)
    browser.find("#bar >>> [part=motion]").click()
    browser.wait_until(lambda: browser.execute_script(particles) == 0)
    standin.swarm({"🔥": 400, "🎉": 3_000})
    shows(browser, "#total", "3,830")
    moving = "return document.getAnimations().filter((each) => each.playState === 'running').length"
    assert browser.execute_script(moving) == 0
    browser.get(f"{standin.url}/")
    browser.wait_until(lambda: browser.execute_script("return emostream.tags.every((each) => each.paused)"))
    browser.execute_script("localStorage.clear()")


@pytest.mark.parametrize("size", [(844, 390), (667, 375)])
def test_a_phone_on_its_side_shows_all_on_one_screen(browser: Browser, standin: StandIn, size: tuple[int, int]) -> None:
    width, height = size
    browser.resize(width, height, mobile=True)
    open_page(browser, standin)
    standin.swarm({"🔥": 400, "🎉": 30})
    shows(browser, "#total", "430")
    for selector in ("header", "#score", "#connection", "#totals", "#bar >>> [part=bar]"):
        box = browser.find(selector).rect
        assert box["x"] >= 0, selector
        assert box["y"] >= 0, selector
        assert box["x"] + box["width"] <= width, selector
        assert box["y"] + box["height"] <= height, selector


def test_a_tap_flies_from_its_button(browser: Browser, standin: StandIn) -> None:
    browser.resize(390, 844, mobile=True)
    open_page(browser, standin)
    button = browser.find("#bar >>> [part=bar] [data-emoji='👏']")
    ActionChains(browser).click(button).perform()
    place = """
        const canvas = document.getElementById("sky").shadowRoot.querySelector("canvas");
        const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const seen = [];
        for (let i = 3; i < data.length; i += 4) if (data[i] > 200) seen.push((i - 3) / 4);
        const mean = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
        const ratio = width / canvas.clientWidth;
        const middle = [(each) => each % width, (each) => each / width].map((of) => mean(seen.map(of)) / ratio);
        return seen.length && middle;
    """
    x, y = browser.wait_until(lambda: browser.execute_script(place))
    box = button.rect
    middle = box["x"] + box["width"] / 2
    assert abs(x - middle) <= 80
    assert y <= box["y"] + box["height"]
    browser.wait_until(lambda: browser.execute_script(place)[1] < 600)


@pytest.mark.parametrize(
    ("lang", "title", "total"), [("hi", "लाइव प्रतिक्रियाएँ", "1,23,456"), ("ar-EG", "تفاعلات مباشرة", "١٢٣٬٤٥٦")]
)
def test_the_page_speaks_other_languages(browser: Browser, standin: StandIn, lang: str, title: str, total: str) -> None:
    open_page(browser, standin, f"/?lang={lang}")
    standin.swarm({"🔥": 123_456})
    shows(browser, "#total", total)
    assert browser.text("#event-title") == title
    assert browser.find("#bar >>> [part=bar]").get_attribute("aria-label") not in {"", "Reactions"}
    assert browser.execute_script("return document.documentElement.lang") == lang
