"""The page of graphs in Chromium, on a real Prometheus beside servers of which some are missing."""

import os
import signal
from collections.abc import Iterator

import pytest

from emostream_lab.demo import graphs_url
from emostream_lab.machine.chromium import Browser
from emostream_lab.processes.topology import Layout, Ports
from tests.browser.test_accessibility import faults
from tests.integration.asking import get
from tests.pipeline import Pipeline

# Alerts fire after a minute at most, and Prometheus asks every five seconds.
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Prometheus, and some of what it asks: no aggregator, so no Spark, and nothing behind it."""
    directory = tmp_path_factory.mktemp("watched") / "state"
    ports = Ports.free(clusters=1, subscribers_per_cluster=1)
    layout = Layout(directory, ports, spark_master="local[2]", has_metrics=True)
    with Pipeline(layout, leave_out=("aggregator", "publisher", "subscriber", "audit", "canary")) as running:
        yield running


def open_graphs(browser: Browser, watched: Pipeline, query: str = "") -> None:
    browser.get(f"{graphs_url(watched.layout)}{query}")
    browser.wait_until(lambda: state(browser, "#status") == "current")


def texts(browser: Browser, selector: str) -> list[str]:
    """The texts of these elements at one moment, because the page replaces them every few seconds."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", selector
    )
    return found


def text(browser: Browser, selector: str) -> str:
    return " ".join(texts(browser, selector))


def state(browser: Browser, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).dataset.state", selector))


def follow(browser: Browser, selector: str) -> None:
    """Click on a link, which the page may replace at any moment."""
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def fired(browser: Browser) -> list[str]:
    return texts(browser, "#firing a")


def scroll_to(browser: Browser, section: str) -> None:
    """Show a section, and wait until it has its graphs."""
    browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", section)
    browser.wait_until(lambda: state(browser, f"#{section}") == "filled", PATIENCE_SECONDS)


def test_it_shows_how_each_tier_does_and_what_is_missing(shared_desktop: Browser, watched: Pipeline) -> None:
    browser = shared_desktop
    open_graphs(browser, watched)
    scroll_to(browser, "zookeeper")
    browser.wait_until(lambda: "received" in text(browser, "#zookeeper .legend"))
    browser.wait_until(lambda: texts(browser, "#zookeeper .legend b")[0].endswith("/s"))
    assert browser.find_all("#zookeeper canvas")
    browser.wait_until(lambda: "Busiest: " in text(browser, "#busiest"))
    wanted = ["Ingest", "Kafka", "Registry", "ZooKeeper"]
    browser.wait_until(lambda: texts(browser, "#tiers a") == wanted, PATIENCE_SECONDS)
    browser.execute_script("document.getElementById('gateway').scrollIntoView()")
    browser.wait_until(lambda: state(browser, "#gateway") == "empty")
    assert browser.complaints() == []


def test_an_alert_that_fires_leads_to_what_to_do(shared_desktop: Browser, watched: Pipeline) -> None:
    browser = shared_desktop
    open_graphs(browser, watched)
    wanted = {"NoAggregatorLeads", "NoPublisherLeads", "SubscriberGone", "CanarySilent", "TargetDown"}
    browser.wait_until(lambda: wanted <= set(fired(browser)), PATIENCE_SECONDS)
    assert set(fired(browser)) == wanted
    follow(browser, '#firing a[href="#NoPublisherLeads"]')
    assert "They need ZooKeeper and Kafka." in text(browser, "#NoPublisherLeads + dd")
    assert browser.execute_script("return document.querySelector('dt:target').id") == "NoPublisherLeads"


def test_a_process_that_was_killed_is_marked_when_it_starts_again(shared_desktop: Browser, watched: Pipeline) -> None:
    browser = shared_desktop
    open_graphs(browser, watched)
    first = browser.execute_script("return performance.timeOrigin")
    registry = watched.part("registry")
    before = registry.process.pid
    os.kill(before, signal.SIGKILL)
    browser.wait_until(lambda: registry.process.pid != before and registry.process.is_ready())
    browser.wait_until(lambda: "registry started" in text(browser, "#marks li"), PATIENCE_SECONDS)
    # The page stayed open.
    assert browser.execute_script("return performance.timeOrigin") == first


def test_the_choice_of_an_event_stays_in_the_address(shared_desktop: Browser, watched: Pipeline) -> None:
    browser = shared_desktop
    assert get(watched.layout.ports.ingest, "/v1/palette").status == 200
    open_graphs(browser, watched)
    browser.wait_until(lambda: browser.find_all('#event option[value="main"]'), PATIENCE_SECONDS)
    browser.find('#event option[value="main"]').click()
    browser.find('#range option[value="300"]').click()
    assert browser.current_url.endswith("?event=main&range=300")
    browser.refresh()
    browser.wait_until(lambda: browser.execute_script("return document.getElementById('event').value") == "main")
    scroll_to(browser, "viewers")
    browser.wait_until(lambda: "accepted" in text(browser, "#viewers .legend"))


@pytest.mark.parametrize(("scheme", "is_phone"), [("dark", False), ("light", True)])
def test_it_is_readable_on_a_phone_and_in_both_schemes(
    shared_desktop: Browser, watched: Pipeline, scheme: str, is_phone: bool
) -> None:
    browser = shared_desktop
    browser.resize(390 if is_phone else 1280, 844, mobile=is_phone)
    browser.prefer(prefers_color_scheme=scheme)
    open_graphs(browser, watched)
    scroll_to(browser, "zookeeper")
    script = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(script) == ("rgb(12, 10, 29)" if scheme == "dark" else "rgb(246, 245, 252)")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    widths = browser.execute_script(
        "return [...document.querySelectorAll('[data-state=filled] figure')].map((each) => each.clientWidth)"
    )
    assert min(widths) >= 300
    assert faults(browser) == []


def test_it_says_so_while_prometheus_does_not_answer(shared_desktop: Browser, watched: Pipeline) -> None:
    browser = shared_desktop
    open_graphs(browser, watched)
    prometheus = watched.part("prometheus").process
    prometheus.send_signal(signal.SIGSTOP)
    try:
        browser.wait_until(lambda: state(browser, "#status") == "failed", PATIENCE_SECONDS)
        assert "Prometheus does not answer" in text(browser, "#status")
    finally:
        prometheus.send_signal(signal.SIGCONT)
    browser.wait_until(lambda: state(browser, "#status") == "current", PATIENCE_SECONDS)
