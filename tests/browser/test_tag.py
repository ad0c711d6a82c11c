"""The tag <emostream-reactions> on pages of another origin, and the page that is made of it."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from emostream_lab.machine.chromium import Browser
from tests.browser.elsewhere import Pages, page_of_ten_lines
from tests.browser.standin import PALETTE, StandIn


@pytest.fixture
def browser(shared_desktop: Browser) -> Browser:
    shared_desktop.prefer(prefers_color_scheme="dark")
    return shared_desktop


TAG = "document.querySelector('emostream-reactions')"
BOX = '<div style="position: relative; width: 640px; height: 360px">{}</div>'


def tag(standin: StandIn, attributes: str = "") -> str:
    return f'<emostream-reactions src="{standin.url}" {attributes}></emostream-reactions>'


def script(standin: StandIn) -> str:
    return f'<script type="module" src="{standin.url}/emostream-reactions.js"></script>'


def embed(standin: StandIn, attributes: str = "") -> str:
    """The body of a page with one tag in a box."""
    return BOX.format(tag(standin, attributes)) + script(standin)


def buttons(browser: Browser, host: str = "emostream-reactions") -> list[Any]:
    return browser.find_all(f"{host} >>> [part=bar] [data-emoji]")


def wait_ready(browser: Browser, standin: StandIn, host: str = "emostream-reactions") -> None:
    browser.wait_until(lambda: buttons(browser, host) and buttons(browser, host)[0].is_displayed())
    browser.wait_until(lambda: standin.viewers)


def open_embedded(browser: Browser, standin: StandIn, elsewhere: Pages, attributes: str = "") -> None:
    browser.get(elsewhere.add(embed(standin, attributes)))
    wait_ready(browser, standin)


def note(browser: Browser, host: str = "emostream-reactions") -> str:
    return browser.text(f"{host} >>> [part=note]")


def keep_events(browser: Browser) -> None:
    browser.execute_script(
        f"""
        window.kept = [];
        for (const type of ["swarm", "counted", "refused", "state"]) {{
          {TAG}.addEventListener(type, ({{ detail }}) => window.kept.push([type, detail]));
        }}
        """
    )


def kept(browser: Browser, kind: str) -> list[dict[str, Any]]:
    return [detail for each, detail in browser.execute_script("return window.kept") if each == kind]


def drawn(browser: Browser) -> int:
    """How many pixels of the sky have a colour, of a hundred thousand or fewer."""
    return int(
        browser.execute_script(
            f"""
            const canvas = {TAG}.shadowRoot.querySelector("canvas");
            if (!canvas.width) return 0;
            const copy = document.createElement("canvas").getContext("2d");
            copy.canvas.width = copy.canvas.height = 300;
            copy.drawImage(canvas, 0, 0, 300, 300);
            const {{ data }} = copy.getImageData(0, 0, 300, 300);
            return data.filter((value, index) => index % 4 === 3 && value > 0).length;
            """
        )
    )


def test_a_page_of_ten_lines_reacts_and_watches(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    browser.get(elsewhere.add(page_of_ten_lines(standin.url)))
    wait_ready(browser, standin)
    buttons(browser)[1].click()
    browser.wait_until(lambda: drawn(browser) > 0)
    assert note(browser) == "", "the viewer's own emoji flies before anything is known of it"
    browser.wait_until(lambda: standin.taps == ["🎉"])
    standin.swarm({"🎉": 3_912})
    browser.wait_until(lambda: note(browser) == "✓ 🎉 counted: one of exactly 3,912")
    assert browser.execute_script(f"return {TAG}.totals") == {"🎉": 3_912}
    new_globals = """
        const plain = document.body.appendChild(document.createElement("iframe")).contentWindow;
        const ofTheDriver = /^(\\d+$|cdc_|se_|ret_)/;
        return Object.getOwnPropertyNames(window).filter((name) => !(name in plain) && !ofTheDriver.test(name));
    """
    assert browser.execute_script(new_globals) == []
    assert browser.execute_script("return localStorage.length") == 0, "nothing is stored unless the page allows it"
    assert browser.complaints() == []


def test_the_sky_takes_no_taps_and_the_bar_does(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    below = '<button id="below" style="position: absolute; inset: 0" onclick="this.textContent = \'tapped\'"></button>'
    browser.get(elsewhere.add(BOX.format(below + tag(standin)) + script(standin)))
    wait_ready(browser, standin)
    ActionChains(browser).move_to_element_with_offset(browser.find("#below"), 0, -100).click().perform()
    assert browser.text("#below") == "tapped"
    box = browser.find("emostream-reactions").rect
    assert (box["width"], box["height"]) == (640, 360), "it has the size of its parent"
    bar = browser.find("emostream-reactions >>> [part=bar]").rect
    assert box["y"] < bar["y"] < bar["y"] + bar["height"] <= box["y"] + box["height"]


def test_it_says_what_happens_by_events(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere)
    keep_events(browser)
    assert browser.run(f"return (await {TAG}.react('🔥')).outcome") == "accepted"
    standin.swarm({"🔥": 7, "👏": 1})
    browser.wait_until(lambda: kept(browser, "counted"))
    counted = kept(browser, "counted")[0]
    assert {name: counted[name] for name in ("emoji", "own", "count", "sequence")} == {
        "emoji": "🔥",
        "own": 1,
        "count": 7,
        "sequence": 1,
    }
    assert counted["latencyMs"] > 0
    assert kept(browser, "swarm")[0]["counts"] == {"🔥": 7, "👏": 1}
    standin.refusal = (410, {"detail": "The event is closed."})
    assert browser.run(f"return (await {TAG}.react('🔥')).outcome") == "refused"
    assert kept(browser, "refused") == [{"emoji": "🔥", "outcome": "refused", "reason": "The event is closed."}]
    standin.swarm({"🔥": 7})
    browser.wait_until(lambda: len(kept(browser, "swarm")) == 2)
    assert note(browser) == "✕ 🔥 was not sent: The event is closed.", "a success does not wipe it"
    standin.end()
    browser.wait_until(lambda: [state["name"] for state in kept(browser, "state")] == ["ended"])
    assert not any(each.is_enabled() for each in buttons(browser))


def test_taps_in_quick_succession_share_requests_and_are_counted_apart(
    browser: Browser, standin: StandIn, elsewhere: Pages
) -> None:
    open_embedded(browser, standin, elsewhere)
    browser.execute_script(f"for (let i = 0; i < 40; i += 1) {TAG}.react(i % 2 ? '🔥' : '🎉')")
    browser.wait_until(lambda: len(standin.taps) == 40)
    assert [len(each) for each in standin.requests] == [1, 39]
    keep_events(browser)
    # The answers may come after the swarm.
    standin.swarm({"🔥": 500, "🎉": 20})
    browser.wait_until(lambda: sum(each["own"] for each in kept(browser, "counted")) == 40)
    assert {(each["emoji"], each["count"]) for each in kept(browser, "counted")} == {("🔥", 500), ("🎉", 20)}
    assert standin.traces == [1], "one question for a swarm"


def test_a_finger_that_stays_sends_a_burst_and_sees_its_number(
    browser: Browser, standin: StandIn, elsewhere: Pages
) -> None:
    open_embedded(browser, standin, elsewhere)
    button = buttons(browser)[0]
    ActionChains(browser).click_and_hold(button).perform()
    browser.wait_until(lambda: len(standin.taps) >= 5)
    badge = browser.find("emostream-reactions >>> [part=bar] .badge").text
    assert badge.startswith("×"), badge
    assert int(badge[1:]) >= 5
    ActionChains(browser).release(button).perform()
    browser.wait_until(lambda: browser.find("emostream-reactions >>> [part=bar] .badge").text == "")
    sent = len(standin.taps)
    button.click()
    browser.wait_until(lambda: len(standin.taps) == sent + 1)
    assert set(standin.taps) == {"🔥"}


def test_six_emoji_are_in_the_bar_and_the_others_in_a_sheet(
    browser: Browser, standin: StandIn, elsewhere: Pages
) -> None:
    open_embedded(browser, standin, elsewhere, "remember")
    assert [each.get_attribute("data-emoji") for each in buttons(browser)] == PALETTE[:6]
    more = browser.find("emostream-reactions >>> [part=more]")
    sheet = browser.find("emostream-reactions >>> [part=sheet]")
    assert (sheet.is_displayed(), more.get_attribute("aria-expanded")) == (False, "false")
    more.click()
    assert (sheet.is_displayed(), more.get_attribute("aria-expanded")) == (True, "true")
    browser.find("emostream-reactions >>> [part=sheet] [data-emoji='🙌']").click()
    browser.wait_until(lambda: standin.taps == ["🙌"])
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not sheet.is_displayed()
    browser.refresh()
    wait_ready(browser, standin)
    assert [each.get_attribute("data-emoji") for each in buttons(browser)] == ["🙌", *PALETTE[:5]]


def test_single_keys_work_only_with_the_focus_in_the_bar(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere)
    ActionChains(browser).send_keys("1").perform()
    browser.execute_script("arguments[0].focus()", buttons(browser)[2])
    ActionChains(browser).send_keys("2").perform()
    browser.wait_until(lambda: standin.taps)
    assert standin.taps == ["🎉"]


def test_the_motion_can_be_stopped_and_stays_so(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere, "remember")
    browser.execute_script(f"window.before = {TAG}.getAttribute('paused')")
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: drawn(browser) > 0)
    browser.find("emostream-reactions >>> [part=motion]").click()
    browser.wait_until(lambda: drawn(browser) == 0)
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: browser.execute_script(f"return {TAG}.totals") == {"🔥": 200})
    assert browser.execute_script(f"return {TAG}.sky.particles") == 0
    browser.refresh()
    wait_ready(browser, standin)
    assert browser.execute_script(f"return {TAG}.paused")
    browser.find("emostream-reactions >>> [part=motion]").click()
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: drawn(browser) > 0)
    browser.execute_script("localStorage.clear()")


def test_tags_of_one_event_share_a_connection(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    bar, sky = tag(standin, 'layout="bar"'), tag(standin, 'layout="display-only"')
    browser.get(elsewhere.add(f"{bar}{BOX.format(sky)}{BOX.format(sky)}{script(standin)}"))
    wait_ready(browser, standin)
    assert (standin.assignments, len(standin.viewers)) == (1, 1)
    buttons(browser)[0].click()
    flying = "return [...document.querySelectorAll('emostream-reactions')].map((each) => each.sky?.frames > 0)"
    browser.wait_until(lambda: browser.execute_script(flying) == [False, True, True])
    browser.execute_script("document.querySelector('[layout=bar]').setAttribute('emoji', '👏')")
    browser.wait_until(lambda: [each.get_attribute("data-emoji") for each in buttons(browser)] == ["👏"])
    assert standin.assignments == 1, "another choice of emoji needs no other connection"
    browser.execute_script("for (const each of document.querySelectorAll('emostream-reactions')) each.remove()")
    browser.wait_until(lambda: not standin.viewers)


def test_attributes_choose_what_is_shown(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere, 'emoji="👏 ❤, 🦄" counts anchor="top" disabled')
    assert [each.get_attribute("data-emoji") for each in buttons(browser)] == ["👏", "❤️"]
    assert not browser.find("emostream-reactions >>> [part=more]").is_displayed()
    assert not buttons(browser)[0].is_enabled()
    standin.swarm({"👏": 12_345})
    browser.wait_until(lambda: browser.find("emostream-reactions >>> .count").text == "12K")
    box, bar = (browser.find(each).rect for each in ("emostream-reactions", "emostream-reactions >>> [part=bar]"))
    assert bar["y"] - box["y"] < 20
    browser.execute_script(f"{TAG}.removeAttribute('disabled'); {TAG}.setAttribute('layout', 'display-only')")
    browser.wait_until(lambda: not buttons(browser))
    browser.execute_script(f"{TAG}.setAttribute('density', 'rule')")
    browser.execute_script(f"{TAG}.sky.clear()")
    standin.swarm({"👏": 2_001})
    browser.wait_until(lambda: browser.execute_script(f"return {TAG}.sky.particles") == 3)


def test_a_delay_holds_what_is_shown_back(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere, 'delay="2"')
    keep_events(browser)
    told_at = time.monotonic()
    standin.swarm({"🔥": 9})
    browser.wait_until(lambda: kept(browser, "swarm"))
    assert time.monotonic() - told_at >= 1.9
    assert browser.execute_script(f"return {TAG}.totals") == {"🔥": 9}


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("en-GB", ("ltr", "React with 🔥", "✓ 🔥 counted: one of exactly 123,456")),
        ("hi", ("ltr", "🔥 भेजें", "✓ 🔥 गिना गया: ठीक 1,23,456 में से एक")),
        ("ar-EG", ("rtl", "تفاعل بـ 🔥", "✓ احتُسب 🔥: واحد من ١٢٣٬٤٥٦ بالضبط")),
        ("eo", ("ltr", "React with 🔥", "✓ 🔥 counted: one of exactly 123,456")),
    ],
)
def test_it_speaks_the_language_of_its_page(
    browser: Browser, standin: StandIn, elsewhere: Pages, lang: str, expected: tuple[str, str, str]
) -> None:
    direction, label, said = expected
    page = elsewhere.add(f'<section lang="{lang}">{embed(standin)}</section>')
    browser.get(page)
    wait_ready(browser, standin)
    assert buttons(browser)[0].get_attribute("aria-label") == label
    bar = browser.find("emostream-reactions >>> [part=bar]")
    assert browser.execute_script("return getComputedStyle(arguments[0]).direction", bar) == direction
    buttons(browser)[0].click()
    browser.wait_until(lambda: standin.taps)
    standin.swarm({"🔥": 123_456})
    browser.wait_until(lambda: note(browser) == said)


def test_it_is_invisible_where_it_fails(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    standin.palette_status = 503
    browser.get(elsewhere.add(embed(standin)))
    browser.wait_until(lambda: standin.viewers)
    assert not browser.find("emostream-reactions >>> [part=bar]").is_displayed()
    standin.palette_status = 200
    wait_ready(browser, standin)
    browser.get(elsewhere.add(embed(standin, 'event=".."')))
    browser.wait_until(lambda: browser.execute_script(f"return {TAG}.shadowRoot !== null"))
    assert not browser.find("emostream-reactions >>> [part=bar]").is_displayed()


def test_it_rests_while_nobody_can_see_it(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    open_embedded(browser, standin, elsewhere)
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: drawn(browser) > 0)
    browser.execute_script(f"{TAG}.parentElement.style.marginTop = '5000px'")
    particles = f"return {TAG}.sky.particles"
    browser.wait_until(lambda: browser.execute_script(particles) == 0)
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: browser.execute_script(f"return {TAG}.totals") == {"🔥": 200})
    assert browser.execute_script(particles) == 0
    browser.execute_script(f"{TAG}.parentElement.style.marginTop = ''")
    browser.wait_until(lambda: browser.execute_script(f"return {TAG}.sky.particles === 0"))
    standin.swarm({"🔥": 100})
    browser.wait_until(lambda: browser.execute_script(particles) > 0)


EMBEDDING = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()


def example(name: str, standin: StandIn) -> str:
    """An example of docs/embedding.md, with the address of the stand-in."""
    found = re.search(rf"<!-- example: {name} -->\n```\w*\n(.*?)```", EMBEDDING, flags=re.DOTALL)
    assert found is not None
    return found[1].replace("https://reactions.example", standin.url)


def test_the_example_over_a_video_works(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    film = """
        <script>
          const canvas = document.createElement("canvas");
          const context = canvas.getContext("2d");
          const draw = (now) => {
            context.fillStyle = `hsl(${now / 20} 60% 40%)`;
            context.fillRect(0, 0, canvas.width, canvas.height);
            requestAnimationFrame(draw);
          };
          requestAnimationFrame(draw);
          document.querySelector("video").srcObject = canvas.captureStream(30);
        </script>
    """
    browser.get(elsewhere.add(example("video", standin) + film))
    wait_ready(browser, standin)
    browser.wait_until(lambda: browser.execute_script("return document.querySelector('video').currentTime > 0"))
    assert browser.find("emostream-reactions").rect == browser.find("#player").rect
    buttons(browser)[0].click()
    browser.wait_until(lambda: standin.taps == ["🔥"])
    standin.swarm({"🔥": 8})
    browser.wait_until(lambda: note(browser).endswith("one of exactly 8"))
    browser.find("#player + button").click()
    size = f"const {{ width, height }} = {TAG}.getBoundingClientRect(); return [width, height]"
    screen = "return document.fullscreenElement && [innerWidth, innerHeight]"
    browser.wait_until(lambda: browser.execute_script(size) == browser.execute_script(screen))
    buttons(browser)[0].click()
    browser.wait_until(lambda: len(standin.taps) == 2)
    browser.execute_script("document.exitFullscreen()")
    browser.wait_until(lambda: browser.execute_script(size) == [640, 360])
    assert browser.complaints() == []


def test_it_works_under_the_strict_policy_of_the_example(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    policy = example("policy", standin).strip()
    # The box has no size here, because the policy forbids the page its own inline style.
    browser.get(elsewhere.add(tag(standin) + script(standin), {"Content-Security-Policy": policy}))
    wait_ready(browser, standin)
    buttons(browser)[0].click()
    browser.wait_until(lambda: standin.taps == ["🔥"])
    standin.swarm({"🔥": 8})
    browser.wait_until(lambda: note(browser).endswith("one of exactly 8"))
    assert browser.complaints() == []


def test_it_works_in_the_sandbox_of_the_example(browser: Browser, standin: StandIn, elsewhere: Pages) -> None:
    browser.get(elsewhere.add(example("sandbox", standin)))
    browser.switch_to.frame(browser.find("iframe"))
    wait_ready(browser, standin)
    buttons(browser)[0].click()
    browser.wait_until(lambda: standin.taps == ["🔥"])
    standin.swarm({"🔥": 8})
    browser.wait_until(lambda: note(browser).endswith("one of exactly 8"))
    browser.find("emostream-reactions >>> [part=motion]").click()
    assert browser.execute_script(f"return {TAG}.paused")
    browser.switch_to.default_content()
    assert browser.complaints() == []
