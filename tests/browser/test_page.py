"""The page in headless Chromium, on the real pipeline: what a person does and sees."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from emostream_lab.machine.chromium import Browser
from tests.browser.elsewhere import Pages, page_of_ten_lines
from tests.integration.asking import post
from tests.pipeline import Pipeline

pytestmark = pytest.mark.spark

# The emoji in the bar and in its sheet.
BUTTONS = "#bar >>> [data-emoji]"


def open_page(browser: Browser, pipeline: Pipeline) -> Browser:
    """The page, live and with its buttons."""
    browser.get(pipeline.page)
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "live")
    browser.wait_until(lambda: browser.find_all(BUTTONS))
    browser.wait_until(lambda: browser.execute_script("return emostream.stream.sequence >= 0"))
    return browser


def send(pipeline: Pipeline, emoji: str, times: int) -> None:
    """React as many others do, in one request."""
    reactions = [{"user_id": f"u{n}", "emoji_type": emoji, "timestamp": int(time.time() * 1000)} for n in range(times)]
    answer = post(pipeline.layout.ports.ingest, "/v1/reactions", json.dumps(reactions).encode())
    assert answer.status == 202, answer.body


def total_of(browser: Browser, emoji: str) -> int:
    rows = browser.find_elements("css selector", f'#bars li[data-emoji="{emoji}"]')
    return int(rows[0].get_attribute("data-count")) if rows else 0


def totals(browser: Browser) -> dict[str, int]:
    found: dict[str, int] = browser.execute_script("return emostream.stream.totals")
    return found


def texts(browser: Browser, selector: str) -> list[str]:
    """The texts of these elements at one moment, because the page replaces some of them each second."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", selector
    )
    return found


def button(browser: Browser, emoji: str) -> Any:
    """The button of an emoji, which is in the sheet if it has no place in the bar."""
    found = browser.find(f'#bar >>> [data-emoji="{emoji}"]')
    if not found.is_displayed():
        browser.find("#bar >>> [part=more]").click()
    return found


def has_drawn(browser: Browser) -> bool:
    """Whether anything is drawn on the canvas."""
    script = """
        const copy = new OffscreenCanvas(200, 200).getContext("2d");
        copy.drawImage(document.getElementById("sky").shadowRoot.querySelector("canvas"), 0, 0, 200, 200);
        const { data } = copy.getImageData(0, 0, 200, 200);
        return data.some((value, index) => index % 4 === 3 && value > 0);
    """
    return bool(browser.execute_script(script))


def keep_sequences(browser: Browser) -> None:
    """Note each swarm that the page gets from now on."""
    browser.execute_script(
        """
        window.sequences = [emostream.stream.sequence];
        emostream.stream.addEventListener("swarm", ({ detail }) => window.sequences.push(detail.sequence));
        """
    )


def test_a_tap_comes_back_on_the_canvas_and_in_the_totals(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    before = total_of(browser, "🎉")
    button(browser, "🎉").click()
    browser.wait_until(lambda: has_drawn(browser))
    browser.wait_until(lambda: total_of(browser, "🎉") == before + 1)
    browser.wait_until(lambda: browser.find("#latency").get_attribute("data-ms"))
    assert 0 < float(browser.find("#latency").get_attribute("data-ms")) < 30_000
    assert browser.text("#latency").startswith("Your 🎉: one of exactly 1, seen after")
    assert browser.text("#connection-text").startswith("LIVE")
    assert browser.complaints() == []


def test_two_pages_see_the_same_totals(new_browser: Callable[[], Browser], pipeline: Pipeline) -> None:
    first, second = (open_page(new_browser(), pipeline) for _ in range(2))
    before = totals(first).get("👏", 0)
    for page in (first, second):
        button(page, "👏").click()
    send(pipeline, "👏", 500)
    for page in (first, second):
        page.wait_until(lambda page=page: total_of(page, "👏") == before + 502)
    assert totals(first) == totals(second)
    shown = first.find("#total").get_attribute("data-value")
    assert int(shown) == sum(totals(first).values())


def test_the_page_goes_on_without_a_gap_when_its_subscriber_is_killed(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    keep_sequences(browser)
    before = total_of(browser, "🔥")
    subscriber = browser.execute_script("return emostream.stream.state.subscriber")
    pipeline.part(f"subscriber@{subscriber.rpartition('/')[2]}").process.send_signal(9)
    send(pipeline, "🔥", 40)
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "waiting")
    send(pipeline, "🔥", 2)
    browser.wait_until(lambda: browser.find("#connection").get_attribute("data-state") == "live")
    assert browser.execute_script("return emostream.stream.state.subscriber") != subscriber
    browser.wait_until(lambda: total_of(browser, "🔥") == before + 42)
    sequences = browser.execute_script("return window.sequences")
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert browser.execute_script("return [emostream.stream.gaps, emostream.stream.repeats]") == [0, 0]


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, pipeline: Pipeline) -> None:
    browser.resize(360, 740, mobile=True)
    open_page(browser, pipeline)
    send(pipeline, "🚀", 3)
    browser.wait_until(lambda: total_of(browser, "🚀") > 0)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    boxes = [button.rect for button in browser.find_all("#bar >>> [part=bar] button")]
    assert len(boxes) == 8, "six emoji, the sheet, and the motion"
    for box in boxes:
        assert 0 <= box["x"] < box["x"] + box["width"] <= 360
        assert 0 <= box["y"] < box["y"] + box["height"] <= 740
        assert min(box["width"], box["height"]) >= 36
    browser.find("#bar >>> [part=more]").click()
    assert len([each for each in browser.find_all(BUTTONS) if each.is_displayed()]) == 32
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.find("#open-scenes").click()
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .box.subscriber"))
    assert browser.execute_script("return document.getElementById('scenes').scrollWidth") <= 360
    assert browser.complaints() == []


def test_the_keyboard_alone_is_enough(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    names = [each.get_attribute("data-emoji") for each in browser.find_all("#bar >>> [part=bar] [data-emoji]")]
    hidden = [each.get_attribute("data-emoji") for each in browser.find_all("#bar >>> [part=sheet] [data-emoji]")]
    before = totals(browser)

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def focused() -> str:
        script = "const here = document.activeElement; const inner = here.shadowRoot?.activeElement ?? here;"
        return str(browser.execute_script(f"{script} return inner.dataset.emoji ?? (inner.id || inner.part.value)"))

    press("1")
    for stop in ("open-scenes", "theme", "bars", names[0]):
        press(Keys.TAB)
        assert focused() == stop
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.SPACE)
    assert focused() == names[2]
    press("1", Keys.END, Keys.ARROW_LEFT)
    assert focused() == "more"
    press(Keys.ENTER)
    assert focused() == hidden[0]
    press(Keys.ARROW_RIGHT, Keys.ENTER)
    assert focused() == hidden[1]
    press(Keys.ESCAPE)
    assert focused() == "more"
    # The key that was pressed while the focus was elsewhere has sent nothing.
    for emoji in (names[2], names[0], hidden[1]):
        browser.wait_until(lambda emoji=emoji: totals(browser).get(emoji, 0) == before.get(emoji, 0) + 1)
    browser.find("#open-scenes").send_keys(Keys.ENTER)
    browser.wait_until(lambda: browser.find("#scenes").get_attribute("open") is not None)
    press(Keys.ESCAPE)
    browser.wait_until(lambda: browser.find("#scenes").get_attribute("open") is None)
    assert browser.complaints() == []


def test_who_prefers_reduced_motion_gets_none(browser: Browser, pipeline: Pipeline) -> None:
    browser.prefer(prefers_reduced_motion="reduce")
    open_page(browser, pipeline)
    button(browser, "😍").click()
    browser.wait_until(lambda: has_drawn(browser))
    assert browser.execute_script("return emostream.tags[0].sky.still")
    moving = "return document.getAnimations().filter((each) => each.playState === 'running').length"
    assert browser.execute_script(moving) == 0


def test_dark_and_light_follow_the_system_until_one_is_chosen(browser: Browser, pipeline: Pipeline) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    browser.prefer(prefers_color_scheme="dark")
    open_page(browser, pipeline)
    dark = browser.execute_script(ground)
    browser.prefer(prefers_color_scheme="light")
    light = browser.execute_script(ground)
    assert dark != light
    browser.find("#theme").click()
    assert browser.execute_script(ground) == dark
    open_page(browser, pipeline)
    assert browser.execute_script(ground) == dark, "the choice is kept"


def test_a_screen_reader_is_told_little(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    browser.execute_script(
        """
        window.told = 0;
        const observer = new MutationObserver(() => (window.told += 1));
        for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
          observer.observe(region, { childList: true, characterData: true, subtree: true });
        }
        """
    )
    keep_sequences(browser)
    for _ in range(4):
        send(pipeline, "🙌", 5)
        seen = len(browser.execute_script("return window.sequences"))
        browser.wait_until(lambda seen=seen: len(browser.execute_script("return window.sequences")) > seen)
    assert browser.execute_script("return window.told") <= 1
    unnamed = browser.execute_script(
        'return [...document.querySelectorAll("button")].filter((each) => !each.ariaLabel && !each.innerText).length'
    )
    assert unnamed == 0


def test_one_reaction_is_followed_hop_by_hop(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    browser.find("#open-scenes").click()
    browser.find("#follow-one").click()
    hops = browser.wait_until(lambda: browser.find_elements("css selector", "#follow-hops li"))
    assert [hop.get_attribute("data-hop") for hop in hops] == [
        "ingest",
        "kafka",
        "trigger",
        "spark",
        "relay",
        "subscriber",
        "browser",
    ]
    parts = [float(hop.get_attribute("data-ms")) for hop in hops]
    whole = float(browser.find("#follow-hops").get_attribute("data-total-ms"))
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(whole)
    assert "was seen after" in browser.text("#follow-status")
    assert browser.complaints() == []


def test_the_picture_shows_each_process_and_that_nothing_is_lost(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    browser.find("#open-scenes").click()
    ports = pipeline.layout.ports
    expected = {f"cluster{n}/{port}" for n, [port] in enumerate(ports.subscribers, 1)}
    send(pipeline, "💯", 25)

    def drawn() -> set[str]:
        script = 'return [...document.querySelectorAll("#map .box[data-state=ready]")].map((box) => box.dataset.title)'
        return set(browser.execute_script(script))

    others = {
        "ingest",
        "aggregator",
        "publisher",
        "registry",
        "ZooKeeper",
        "reactions",
        "swarms",
        "cluster1",
        "cluster2",
    }
    browser.wait_until(lambda: drawn() >= expected | others)

    def waiting() -> list[str]:
        script = 'return [...document.querySelectorAll("#map .log .figure")].map((each) => each.textContent)'
        return list(browser.execute_script(script))

    # The log of reactions, that of the swarms, and those of two clusters.
    browser.wait_until(lambda: waiting() == ["0 waiting"] * 4)

    def account() -> dict[str, str]:
        return dict(part.rsplit(" ", 1) for part in texts(browser, "#conservation span"))

    browser.wait_until(lambda: account().get("accepted", "") == account().get("counted") != "0")
    assert (account()["lost"], account()["doubled"]) == ("0", "0")
    browser.find("#processes summary").click()
    rows = texts(browser, "#process-rows tr")
    assert len(rows) == 8, "registry, ingest, aggregator, auditor, two publishers and two subscribers"
    assert all("ready" in row for row in rows)
    assert browser.complaints() == []


def test_a_page_of_ten_lines_of_another_site_shows_live_reactions(
    browser: Browser, pipeline: Pipeline, elsewhere: Pages
) -> None:
    browser.get(elsewhere.add(page_of_ten_lines(pipeline.page.removesuffix("/"))))
    browser.wait_until(lambda: browser.find_all("emostream-reactions >>> [part=bar] [data-emoji]"))
    browser.find("emostream-reactions >>> [data-emoji='🎉']").click()
    note = "emostream-reactions >>> [part=note]"
    browser.wait_until(lambda: browser.text(note).startswith("✓ 🎉 counted: one of exactly "))
    assert browser.complaints() == []


def test_the_example_page_works(browser: Browser, pipeline: Pipeline) -> None:
    browser.get(f"{pipeline.page}static/example.html")
    browser.wait_until(lambda: browser.text("#state").startswith("live"))
    browser.find("#fire").click()
    browser.wait_until(lambda: '"type": "swarm"' in browser.text("#messages") and "🔥" in browser.text("#messages"))
    assert browser.complaints() == []
