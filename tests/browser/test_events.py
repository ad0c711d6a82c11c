"""The page where several events are open: a viewer chooses one, reacts to it, and sees its end."""

import json
from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from emostream.operate.events import EventOptions
from emostream_lab.machine.chromium import Browser
from tests.browser.test_compatibility import OLD_BROWSER
from tests.browser.test_page import BUTTONS, button, texts, total_of, totals
from tests.integration.asking import get
from tests.integration.test_events import PATIENCE_SECONDS, operate, react
from tests.pipeline import Pipeline

pytestmark = pytest.mark.spark


@pytest.fixture
def events(pipeline: Pipeline) -> Iterator[None]:
    """Two events beside `main`: `final` and `show`."""
    with (
        pipeline.event("final", EventOptions("India – Australia", ["🔥", "👏"])),
        pipeline.event("show", EventOptions("The talent show")),
    ):
        yield


def open_event(browser: Browser, pipeline: Pipeline, address: str) -> None:
    """The page of an event, from another page."""
    browser.get("about:blank")
    browser.get(f"{pipeline.page}{address}")


def answers(browser: Browser, path: str) -> int:
    """How many requests of this path the page has got answers to."""
    script = "return performance.getEntriesByType('resource').filter((each) => each.name.endsWith(arguments[0])).length"
    return int(browser.execute_script(script, path))


def wait_live(browser: Browser, event: str) -> None:
    """Wait for the page of an event, with its buttons."""
    browser.wait_until(lambda: answers(browser, f"/v1/events/{event}/palette"))
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "live")
    browser.wait_until(lambda: browser.find_all(BUTTONS))


def is_open(browser: Browser, dialog: str = "#events") -> bool:
    return bool(browser.find(dialog).is_displayed())


def choose(browser: Browser, title: str) -> None:
    link = "return [...document.querySelectorAll('#events a')].find((each) => each.innerText.includes(arguments[0]))"
    browser.wait_until(lambda: browser.execute_script(link, title)).click()


@pytest.mark.usefixtures("events")
def test_a_viewer_chooses_an_event_reacts_and_sees_its_end(browser: Browser, pipeline: Pipeline) -> None:
    main_before = json.loads(get(pipeline.layout.ports.registry, "/v1/events").body)["events"][0]["reactions"]
    open_event(browser, pipeline, "")
    browser.wait_until(lambda: is_open(browser))
    browser.wait_until(lambda: texts(browser, "#events b") == ["Main", "India – Australia", "The talent show"])
    assert all("reactions a second" in figures for figures in texts(browser, "#events span"))
    choose(browser, "India – Australia")

    wait_live(browser, "final")
    assert browser.current_url == f"{pipeline.page}#final"
    assert not is_open(browser), "an event was chosen"
    browser.wait_until(lambda: browser.text("#event-title") == "India – Australia")
    assert browser.title == "India – Australia · EmoStream"
    assert [each.get_attribute("data-emoji") for each in browser.find_all(BUTTONS)] == ["🔥", "👏"]
    button(browser, "👏").click()
    assert react(pipeline, "/v1/events/final/reactions", "🔥", 900) == 202
    browser.wait_until(lambda: totals(browser) == {"🔥": 900, "👏": 1}, PATIENCE_SECONDS)
    browser.wait_until(lambda: browser.find("#latency").get_attribute("data-ms"))

    operate(pipeline, "close", "final")
    browser.wait_until(lambda: browser.text("#connection-text") == "The event has ended")
    assert browser.text("#ended") == "The event has ended. These are the final totals."
    assert browser.text("#summary") == "The event has ended with 901 reactions."
    assert (total_of(browser, "🔥"), total_of(browser, "👏")) == (900, 1)
    browser.wait_until(lambda: browser.text("#total") == "901")
    assert not button(browser, "🔥").is_enabled()
    assert browser.execute_script("return document.activeElement.id") == "choose-another", "the focus is kept"
    assert not is_open(browser), "nothing hides the totals"
    main_after = json.loads(get(pipeline.layout.ports.registry, "/v1/events").body)["events"][0]["reactions"]
    assert main_after == main_before

    browser.find("#choose-another").click()
    browser.wait_until(lambda: texts(browser, "#events b") == ["Main", "The talent show"])
    choose(browser, "The talent show")
    wait_live(browser, "show")
    assert browser.complaints() == []


@pytest.mark.usefixtures("events")
def test_the_keyboard_alone_is_enough_to_choose_an_event(browser: Browser, pipeline: Pipeline) -> None:
    open_event(browser, pipeline, "#show")
    wait_live(browser, "show")
    browser.wait_until(lambda: browser.find("#open-events").is_displayed())

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def focused() -> str:
        return str(browser.execute_script("return document.activeElement.hash ?? document.activeElement.id"))

    press(Keys.TAB)
    assert focused() == "open-events"
    press(Keys.ENTER)
    browser.wait_until(lambda: len(texts(browser, "#events li")) == 3)
    assert browser.find("#events [aria-current=page] b").text == "The talent show"
    assert focused() == "close-events"
    press(Keys.TAB, Keys.TAB)
    assert focused() == "#final"
    polls = answers(browser, "/v1/events")
    browser.wait_until(lambda: answers(browser, "/v1/events") == polls + 2)
    assert focused() == "#final", "new figures do not take the focus"
    press(Keys.TAB, Keys.ENTER)
    assert not is_open(browser), "the current event is shown already"
    assert focused() == "open-events"
    press(Keys.ENTER, Keys.ESCAPE)
    assert not is_open(browser)
    press(Keys.ENTER, Keys.TAB, Keys.TAB, Keys.ENTER)
    wait_live(browser, "final")
    assert browser.complaints() == []


@pytest.mark.usefixtures("events")
def test_an_address_of_no_open_event_says_so_and_offers_the_others(browser: Browser, pipeline: Pipeline) -> None:
    assert react(pipeline, "/v1/events/final/reactions", "🔥", 3) == 202
    operate(pipeline, "close", "final")
    open_event(browser, pipeline, "#final")
    browser.wait_until(lambda: is_open(browser))
    assert browser.text("#events-note") == "The event final has ended."
    assert total_of(browser, "🔥") == 3
    choose(browser, "The talent show")
    wait_live(browser, "show")
    for event in ("Nobody%20knows", ".."):
        open_event(browser, pipeline, f"#{event}")
        browser.wait_until(lambda: is_open(browser))
        assert browser.text("#events-note") == f"There is no event {event}."
        assert browser.text("#connection-text") == f"There is no event {event}."
        browser.wait_until(lambda: texts(browser, "#events b") == ["Main", "The talent show"])
        assert browser.find_all(BUTTONS) == []


@pytest.mark.usefixtures("events")
def test_an_event_is_chosen_on_a_phone_with_a_browser_of_2021(
    new_browser: Callable[[], Browser], pipeline: Pipeline
) -> None:
    browser = new_browser()
    browser.resize(360, 740, mobile=True)
    browser.run_before_pages(OLD_BROWSER)
    open_event(browser, pipeline, "")
    browser.wait_until(lambda: is_open(browser))
    assert browser.execute_script("return document.getElementById('events').scrollWidth") <= 360
    choose(browser, "India – Australia")
    wait_live(browser, "final")
    browser.wait_until(lambda: browser.find("#event-title").is_displayed())
    button(browser, "👏").click()
    browser.wait_until(lambda: totals(browser) == {"👏": 1}, PATIENCE_SECONDS)
    browser.wait_until(lambda: browser.find("#latency").get_attribute("data-ms"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.find("#open-scenes").click()
    assert browser.current_url == f"{pipeline.page}#final/topology"
    browser.find("#close-scenes").click()
    assert browser.current_url == f"{pipeline.page}#final"
    assert browser.complaints() == []


def test_with_main_alone_there_is_nothing_to_choose(browser: Browser, pipeline: Pipeline) -> None:
    open_event(browser, pipeline, "")
    browser.wait_until(lambda: answers(browser, "/v1/events"))
    browser.wait_until(lambda: browser.find_all(BUTTONS))
    for selector in ("#events", "#open-events", "#choose-another", "#ended"):
        assert not browser.find(selector).is_displayed()
    assert browser.text("#event-title") == "Live reactions"
    assert browser.title == "EmoStream"
