"""The page in browsers that lack something or refuse it, storage, new functions, WebSockets; and in Firefox ESR."""

import signal
from pathlib import Path

import pytest

from emostream_lab.machine.chromium import Browser
from emostream_lab.machine.firefox import Firefox
from tests.browser.test_page import button, open_page, total_of, totals
from tests.integration.asking import metric
from tests.integration.viewers import wait_until
from tests.pipeline import Pipeline

pytestmark = pytest.mark.spark

NO_STORAGE = """
    for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      const get = () => {
        throw new DOMException("Access is denied for this document.", "SecurityError");
      };
      Object.defineProperty(window, name, { get });
    }
"""
OFFLINE = 'Object.defineProperty(Navigator.prototype, "onLine", { get: () => false });'
# What Safari 15.0 or Firefox 100 lacks. Object.hasOwn stays, because Chromium's driver needs it. tests/unit/test_web.py
# looks for the same in the page's text.
OLD_BROWSER = """
    const lacks = [
      [AbortSignal, "any timeout"],
      [AbortSignal.prototype, "throwIfAborted reason"],
      [Array, "fromAsync"],
      [Array.prototype, "at findLast findLastIndex toSorted toReversed toSpliced with"],
      [String.prototype, "at isWellFormed toWellFormed"],
      [Float32Array.prototype.__proto__, "at findLast findLastIndex toSorted toReversed with"],
      [Object, "groupBy"],
      [Map, "groupBy"],
      [Promise, "withResolvers try"],
      [Iterator.prototype, "map filter take drop flatMap reduce toArray forEach some every find"],
      [Set.prototype, "union intersection difference isSubsetOf isSupersetOf isDisjointFrom symmetricDifference"],
      [HTMLDialogElement.prototype, "show showModal close requestClose open returnValue"],
      [ReadableStream, "from"],
      [ReadableStream.prototype, "pipeThrough pipeTo tee values"],
      [CanvasRenderingContext2D.prototype, "roundRect reset createConicGradient"],
      [Crypto.prototype, "randomUUID"],
      [Element.prototype, "checkVisibility ariaLabel"],
      [window, "structuredClone TextDecoderStream TextEncoderStream OffscreenCanvas CompressionStream Iterator"],
      [window, "BroadcastChannel requestIdleCallback scheduler navigation Sanitizer"],
    ];
    for (const [owner, names] of lacks) for (const name of names.split(" ")) delete owner[name];
    delete ReadableStream.prototype[Symbol.asyncIterator];
"""
NO_WEBSOCKET = """
    const Real = WebSocket;
    window.refused = 0;
    window.WebSocket = class extends Real {
      constructor() {
        super("ws://127.0.0.1:9/"); // nobody listens there
        window.refused += 1;
      }
    };
"""


def react(browser: Browser, emoji: str) -> None:
    """Tap, and see it counted."""
    before = totals(browser).get(emoji, 0)
    button(browser, emoji).click()
    browser.wait_until(lambda: totals(browser).get(emoji, 0) == before + 1)
    browser.wait_until(lambda: browser.text("#bar >>> [part=note]").startswith(f"✓ {emoji} counted"))


def test_the_page_works_where_it_may_store_nothing(browser: Browser, pipeline: Pipeline) -> None:
    browser.run_before_pages(NO_STORAGE)
    open_page(browser, pipeline)
    react(browser, "🎉")
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(ground)
    browser.find("#theme").click()
    browser.wait_until(lambda: browser.execute_script(ground) != before)
    assert browser.complaints() == []


def test_a_tap_is_sent_although_the_browser_says_that_it_is_offline(browser: Browser, pipeline: Pipeline) -> None:
    browser.run_before_pages(OFFLINE)
    open_page(browser, pipeline)
    react(browser, "🎉")


def test_the_page_works_in_a_browser_of_2021(browser: Browser, pipeline: Pipeline) -> None:
    browser.run_before_pages(OLD_BROWSER)
    open_page(browser, pipeline)
    assert browser.execute_script("return [typeof AbortSignal.any, typeof [].at]") == ["undefined"] * 2
    react(browser, "🎉")
    browser.wait_until(lambda: browser.find("#latency").get_attribute("data-ms"))
    browser.execute_script("document.querySelector('#bar').shadowRoot.querySelector('button').focus()")
    browser.execute_script(
        "const { activeElement } = document.activeElement.shadowRoot;"
        "activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'End', bubbles: true }))"
    )
    assert browser.execute_script("return document.activeElement.shadowRoot.activeElement.part.value") == "motion"
    browser.find("#open-scenes").click()
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .line[data-flowing]"))
    browser.find("#follow-one").click()
    browser.wait_until(lambda: browser.find_elements("css selector", "#follow-hops li"))
    browser.find("#close-scenes").click()
    assert not browser.find("#scenes").is_displayed()
    browser.find("#open-scenes").click()
    browser.execute_script("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
    assert not browser.find("#scenes").is_displayed()
    assert browser.complaints() == []


def stay_with(pipeline: Pipeline) -> tuple[str, str]:
    """The name of the first subscriber, and a script that makes a page use only that one."""
    first, second = (f"cluster{number}/{ports[0]}" for number, ports in enumerate(pipeline.layout.ports.subscribers, 1))
    script = """
        const realFetch = window.fetch;
        window.fetch = (url, options = {}) => {
          if (`${url}`.endsWith("/v1/assignments")) {
            const body = JSON.parse(options.body);
            options = { ...options, body: JSON.stringify({ ...body, exclude: ["OTHER"] }) };
          }
          return realFetch(url, options);
        };
    """
    return first, script.replace("OTHER", second)


def test_seven_tabs_on_one_subscriber_all_live(browser: Browser, pipeline: Pipeline) -> None:
    subscriber, script = stay_with(pipeline)
    tabs = [browser.current_window_handle]
    for number in range(7):
        if number:
            browser.switch_to.new_window("tab")
            tabs.append(browser.current_window_handle)
        browser.run_before_pages(script)
        open_page(browser, pipeline)
        assert browser.execute_script("return emostream.stream.state.subscriber") == subscriber
    react(browser, "👀")
    browser.wait_until(lambda: browser.find("#latency").get_attribute("data-ms"))
    expected = totals(browser)["👀"]
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.wait_until(lambda: total_of(browser, "👀") == expected)


def test_the_page_falls_back_to_sse_where_no_websocket_can_be_opened(browser: Browser, pipeline: Pipeline) -> None:
    browser.run_before_pages(NO_WEBSOCKET)
    open_page(browser, pipeline)
    react(browser, "🎉")
    assert browser.execute_script("return window.refused") == 1


def test_a_subscriber_that_falls_silent_is_left_for_another(browser: Browser, pipeline: Pipeline) -> None:
    open_page(browser, pipeline)
    subscriber = browser.execute_script("return emostream.stream.state.subscriber")
    browser.execute_script(
        """
        window.reasons = [];
        emostream.stream.addEventListener("state", ({ detail }) => window.reasons.push(detail.reason));
        """
    )
    process = pipeline.part(f"subscriber@{subscriber.rpartition('/')[2]}").process
    process.send_signal(signal.SIGSTOP)
    try:
        # The wait is shorter than the 45 s after which a subscriber without heartbeats is given up.
        browser.wait_until(lambda: "the subscriber is silent" in browser.execute_script("return window.reasons"))
        browser.wait_until(lambda: browser.execute_script("return emostream.stream.state.name") == "live")
        assert browser.execute_script("return emostream.stream.state.subscriber") != subscriber
        react(browser, "🎉")
    finally:
        process.send_signal(signal.SIGCONT)


def test_behind_the_scenes_is_hidden_where_the_registry_offers_no_live_topology(
    browser: Browser, pipeline: Pipeline
) -> None:
    browser.run_before_pages(
        """
        const realFetch = window.fetch;
        window.fetch = async (url, options) => {
          const response = await realFetch(url, options);
          if (!`${url}`.endsWith("/v1/config")) return response;
          return new Response(JSON.stringify({ ...(await response.json()), live_topology: false }));
        };
        """
    )
    open_page(browser, pipeline)
    react(browser, "🎉")
    assert not browser.find("#open-scenes").is_displayed()
    browser.get(f"{pipeline.page}#topology")
    browser.refresh()
    browser.wait_until(lambda: browser.execute_script("return window.emostream?.stream.sequence >= 0"))
    browser.wait_until(lambda: browser.find_all("#bar >>> [data-emoji]"))
    assert not browser.find("#scenes").is_displayed()


@pytest.mark.firefox
def test_the_page_works_in_firefox(tmp_path: Path, pipeline: Pipeline) -> None:
    with Firefox(tmp_path / "firefox") as firefox:
        firefox.get(pipeline.page)

        def wait_for(expression: str) -> None:
            wait_until(lambda: firefox.run(f"return Boolean({expression})"), describe=lambda: expression)

        bar = "document.querySelector('#bar').shadowRoot"
        wait_for("window.emostream?.stream.sequence >= 0")
        wait_for(f"{bar}.querySelector('[data-emoji=\"🎉\"]')")
        viewers = 'emostream_subscriber_viewers{event="main",kind="ws_deflate_compact"}'
        assert sum(metric(port, viewers) for ports in pipeline.layout.ports.subscriber_admins for port in ports) >= 1
        before = firefox.run("return emostream.stream.totals['🎉'] ?? 0")
        firefox.run(f"{bar}.querySelector('[data-emoji=\"🎉\"]').click()")
        wait_for(f"emostream.stream.totals['🎉'] === {before + 1}")
        wait_for(f"{bar}.querySelector('[part=note]').textContent.startsWith('✓ 🎉 counted')")
        wait_for("document.querySelector('#latency').dataset.ms")
        firefox.run("document.querySelector('#open-scenes').click()")
        wait_for("document.querySelector('#map .line[data-flowing]')")
        firefox.run("document.querySelector('#follow-one').click()")
        wait_for("document.querySelector('#follow-hops li')")
        assert firefox.complaints() == []
