"""The page of the topology: details, steps, its file, the micro-batch, and in the demo a button that kills."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from emostream_lab import switch
from emostream_lab.machine.chromium import Browser
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import free_port
from emostream_lab.processes.topology import Part
from tests.browser.standin import StandIn
from tests.browser.test_accessibility import SIZES, faults
from tests.browser.test_modules import process

SUBSCRIBER_ADMIN_PORT = 10_001
AUDITED = {"accepted": 123_456, "counted": 121_456, "lost": 0, "doubled": 0}


def processes() -> list[dict[str, Any]]:
    """Those of a demo with one cluster and a stand-by of the aggregator, which has died."""
    audited = {f"emostream_audit_{name}_reactions": value for name, value in AUDITED.items()}
    head = {"emostream_subscriber_head_sequence": 50, "emostream_subscriber_fan_out_seconds_sum": 1}
    subscriber = {"cluster": "cluster1", "clients": 56, "capacity": 100, "per_second": 28}
    return [
        process("registry", "r"),
        process("ingest", "i", per_second=1_000),
        process("aggregator", "a", leader=True, per_second=0.5),
        process("aggregator", "b", ready=False, reason="Spark is away"),
        process("publisher", "cluster1@p", cluster="cluster1", leader=True, per_second=0.5),
        process("subscriber", "cluster1/9001", **subscriber, url="http://127.0.0.1:9001", metrics=head)
        | {"admin_url": f"http://127.0.0.1:{SUBSCRIBER_ADMIN_PORT}"},
        process("audit", "x", metrics={**audited, "emostream_audit_waiting_records": 34}),
    ]


def open_topology(browser: Browser, standin: StandIn, query: str = "") -> None:
    standin.processes = processes()
    browser.get("about:blank")
    browser.get(f"{standin.url}/static/topology.html{query}")
    browser.wait_until(lambda: browser.find_elements("css selector", "#map .box.subscriber"))
    browser.wait_until(lambda: browser.execute_script("return emostream.stream.state.name") == "live")


def press(browser: Browser, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def dimmed(browser: Browser) -> set[str]:
    script = "return [...document.querySelectorAll('#map .box.dim')].map((each) => each.dataset.title)"
    return set(browser.execute_script(script))


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_screen(
    shared: Browser, standin: StandIn, size: str, scheme: str
) -> None:
    width, height, is_phone = SIZES[size]
    shared.resize(width, height, mobile=is_phone)
    shared.prefer(prefers_color_scheme=scheme)
    open_topology(shared, standin)
    assert faults(shared) == []
    assert shared.execute_script("return document.documentElement.scrollWidth") <= width
    shared.find("#explain").click()
    assert faults(shared) == []
    shared.find("#map .box.subscriber").click()
    shared.wait_until(lambda: shared.find("#details").is_displayed())
    assert faults(shared) == []


def test_a_box_has_details_for_the_mouse_and_for_the_keyboard(shared_desktop: Browser, standin: StandIn) -> None:
    browser = shared_desktop
    open_topology(browser, standin)
    assert browser.text("#conservation").split("\n") == [
        "accepted 123,456",
        "counted 121,456",
        "on the way 2,000",
        "lost 0",
        "doubled 0",
    ]
    browser.find("#map .box.subscriber").click()
    assert browser.text("#details-title") == "cluster1/9001"
    assert browser.text("#details-text") == "ready, 56 viewers, 28/s"
    figures = browser.text("#details-figures").split("\n")
    assert figures == ["address", "http://127.0.0.1:9001", "cluster", "cluster1", "subscriber_head_sequence", "50"]
    standin.processes[5]["clients"] = 57
    browser.wait_until(lambda: browser.text("#details-text") == "ready, 57 viewers, 28/s")
    browser.execute_script("document.querySelector('#map .box.log').focus()")
    press(browser, Keys.ENTER)
    assert browser.text("#details-title") == "reactions"
    assert browser.text("#details-figures").split("\n") == ["records that wait to be read", "34"]
    press(browser, Keys.ESCAPE)
    assert not browser.find("#details").is_displayed()
    assert browser.complaints() == []


def test_a_talk_goes_from_step_to_step(shared_desktop: Browser, standin: StandIn) -> None:
    browser = shared_desktop
    open_topology(browser, standin)
    assert browser.find("#legend").is_displayed()
    browser.find("#explain").click()
    assert browser.text("#step-title") == "A viewer taps"
    assert dimmed(browser) == {
        "ingest",
        "reactions",
        "aggregator",
        "swarms",
        "publisher",
        "cluster1",
        "cluster1/9001",
    } | {
        "registry",
        "ZooKeeper",
    }
    browser.find("#next").click()
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert browser.text("#step-number") == "3 of 10"
    press(browser, *[Keys.ARROW_RIGHT] * 20)
    assert browser.text("#step-title") == "Kill one"
    assert dimmed(browser) == set()
    assert not browser.find("#next").is_enabled()
    browser.find("#explain").click()
    assert not browser.find("#steps").is_displayed()


def test_the_file_of_the_picture_needs_no_style_of_the_page(shared_desktop: Browser, standin: StandIn) -> None:
    browser = shared_desktop
    open_topology(browser, standin)
    found = browser.run(
        """
        const { fileOf } = await import("./picture.js");
        const text = fileOf(emostream.map.svg, "rgb(1, 2, 3)");
        const file = new DOMParser().parseFromString(text, "image/svg+xml");
        // The policy of this page forbids to apply styles of a text, and not to read them.
        const styleOf = (element, name) =>
          new RegExp(`(?:^|; ?)${name}: ([^;]*)`).exec(element.getAttribute("style"))[1];
        return {
          errors: file.querySelectorAll("parsererror").length,
          classes: file.querySelectorAll("[class]").length,
          texts: [...file.querySelectorAll("text")].map((each) => each.textContent),
          colour: styleOf(file.querySelector("rect"), "fill"),
          ground: styleOf(file.documentElement, "background"),
        };
        """
    )
    assert (found["errors"], found["classes"]) == (0, 0)
    assert {"viewers", "cluster1/9001", "34 waiting", "one every 2 s", "stand-by"} <= set(found["texts"])
    assert found["colour"].startswith("rgb(")
    assert found["ground"] == "rgb(1, 2, 3)"
    names = browser.run(
        """
        const names = [];
        HTMLAnchorElement.prototype.click = function () { names.push([this.download, this.href.split(":")[0]]); };
        document.getElementById("save").click();
        return names;
        """
    )
    assert names == [["emostream-topology.svg", "blob"]]


FILLING = """
    const animations = [...document.querySelectorAll("#map .fill")].flatMap((each) => each.getAnimations());
    return animations.map((each) => each.effect.getTiming().duration);
"""


def test_the_micro_batch_fills_until_the_next_swarm(shared_desktop: Browser, standin: StandIn) -> None:
    browser = shared_desktop
    open_topology(browser, standin)
    assert browser.execute_script(FILLING) == []
    standin.swarm({"🔥": 5}, window_ms=60_000)
    browser.wait_until(lambda: browser.execute_script(FILLING) == [60_000])
    standin.swarm({"🔥": 5}, window_ms=50_000)
    browser.wait_until(lambda: browser.execute_script(FILLING) == [50_000])
    browser.prefer(prefers_reduced_motion="reduce")
    try:
        standin.swarm({"🔥": 5}, window_ms=40_000)
        browser.wait_until(lambda: browser.execute_script(FILLING) == [])
        running = "return document.getAnimations().filter((each) => each.playState === 'running').length"
        assert browser.execute_script(running) == 0
    finally:
        browser.prefer(prefers_reduced_motion="no-preference")


def test_a_service_that_shows_its_topology_to_nobody_says_so(shared_desktop: Browser, standin: StandIn) -> None:
    standin.has_live_topology = False
    shared_desktop.get(f"{standin.url}/static/topology.html")
    shared_desktop.wait_until(lambda: "does not show its live topology" in shared_desktop.text("#note"))


@pytest.fixture
def victim(tmp_path: Path, standin: StandIn) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process of a demo, and the port of the demo's switch."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    part = Part("subscriber", Process("subscriber@9001", [], log_file=tmp_path / "log"), 9_001, SUBSCRIBER_ADMIN_PORT)
    state = tmp_path / "topology.json"
    state.write_text(json.dumps([{"name": part.name, "tier": part.tier, "state": "ready", "pid": child.pid}]))
    port, page_port = free_port(), int(standin.url.rpartition(":")[2])
    try:
        with switch.serving(port, [part], state, page_port):
            yield child, port
    finally:
        child.kill()
        child.wait()


def test_in_the_demo_a_button_kills_the_process_of_a_box(
    shared_desktop: Browser, standin: StandIn, victim: tuple[subprocess.Popen[bytes], int]
) -> None:
    child, port = victim
    browser = shared_desktop
    open_topology(browser, standin)
    browser.find("#map .box.subscriber").click()
    assert not browser.find("#kill").is_displayed(), "no other service has the button"
    open_topology(browser, standin, f"?lab={port}")
    browser.find("#map .box.ingest").click()
    assert not browser.find("#kill").is_displayed(), "the demo does not know this one"
    browser.find("#map .box.subscriber").click()
    browser.wait_until(lambda: browser.find("#kill").is_displayed())
    assert browser.text("#kill") == "Kill subscriber@9001"
    browser.find("#kill").click()
    browser.wait_until(lambda: browser.text("#killed").startswith("Killed subscriber@9001"))
    assert child.wait(30) == -9
