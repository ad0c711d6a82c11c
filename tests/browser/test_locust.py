"""Locust's web UI as it is used: a password, a choice, a start, and the plots and the verdict below."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.remote.webelement import WebElement

from emostream_lab.machine.chromium import Browser
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.stand_in import accepts, stand_in

ROOT = Path(__file__).parents[2]
PASSWORD = "only for this test"  # noqa: S105
# Time for the pipeline to get quiet, for the run, and for the last reactions to arrive.
RUN_SECONDS = 60


@dataclass
class WebUi:
    url: str
    results: Path


@contextmanager
def locust(directory: Path, fault: str = "none") -> Iterator[WebUi]:
    """A master with a web UI and two workers, on a stand-in of the pipeline."""
    process, url = stand_in(directory, fault)
    process.start()
    password_file = directory / "password"
    password_file.write_text(PASSWORD)
    web_port, port = (str(servers.free_port()) for _ in range(2))
    command = [sys.executable, "-m", "locust", "--locustfile", str(ROOT / "locustfile.py"), "--host", url]
    command += [
        "--web-host",
        servers.HOST,
        "--web-port",
        web_port,
        "--web-login",
        "--password-file",
        str(password_file),
    ]
    command += ["--processes", "2", "--master-bind-port", port, "--master-port", port]
    # Longer than the 5 s of a stampede, so that its last viewers also see swarms.
    command += ["--seconds", "8", "--viewers", "30", "--reactions", "80", "--results", str(directory / "results")]
    ui = Process("locust", command, log_file=directory / "locust.log", probe=lambda: accepts(int(web_port)))
    ui.start()
    try:
        ui.wait_ready(60)
        yield WebUi(f"http://{servers.HOST}:{web_port}", directory / "results")
    finally:
        ui.stop(timeout_seconds=30)
        process.stop()


def log_in(browser: Browser, password: str) -> None:
    browser.wait_until(lambda: browser.find("input[name=username]")).send_keys("emostream")
    browser.find("input[name=password]").send_keys(password)
    browser.find("button[type=submit]").click()


def button(browser: Browser, text: str) -> Callable[[], WebElement | None]:
    script = "return [...document.querySelectorAll('button')].find((each) => each.textContent.trim() === arguments[0])"
    return lambda: browser.execute_script(script, text)


def start(browser: Browser, shape: str) -> None:
    """Choose a shape in the form and press the button."""
    select = browser.wait_until(lambda: browser.find_elements("css selector", "select[name=shape]"))[0]
    # The select of the UI's framework needs the same event as a user's choice.
    browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', { bubbles: true }))",
        select,
        shape,
    )
    browser.wait_until(lambda: _has_started(browser))


def _has_started(browser: Browser) -> bool:
    """Whether a run has begun; presses the button if not. While the form fades in, something else may cover it."""
    if "No run yet" not in browser.text("#emostream .verdict"):
        return True
    pressable = button(browser, "Start")()
    if pressable is not None:
        with suppress(ElementClickInterceptedException, StaleElementReferenceException):
            pressable.click()
    return False


def verdict(browser: Browser) -> str:
    browser.wait_until(lambda: "conservation" in browser.text("#emostream .verdict"), RUN_SECONDS)
    return browser.text("#emostream .verdict")


def test_a_run_is_chosen_started_and_judged_in_the_web_ui(browser: Browser, tmp_path: Path) -> None:
    with locust(tmp_path) as ui:
        browser.get(ui.url)
        log_in(browser, PASSWORD)
        browser.wait_until(lambda: "No run yet" in browser.text("#emostream .verdict"))
        start(browser, "stampede")
        browser.wait_until(lambda: "The audience is there" in browser.text("#emostream .verdict"))
        assert verdict(browser).startswith("conservation holds: accepted ")
        assert "30 viewers saw" in verdict(browser)
        plots = browser.find_elements("css selector", "#emostream figure")
        assert len(plots) == 3
        assert all(path.get_attribute("d") for path in browser.find_elements("css selector", "#emostream path"))
        assert "deliveries" in browser.text("#emostream figure")
        assert "DELIVERY POST to viewer" in browser.text("#emostream tbody")
        # Locust stops its users between the verdict and the report.
        [report] = browser.wait_until(lambda: list(ui.results.glob("*-stampede/report.html")))
        browser.get(f"file://{report}")
        assert verdict(browser).startswith("conservation holds: accepted ")
        assert len(browser.find_elements("css selector", "#emostream figure")) == 3


def test_what_was_doubled_is_shown_in_red(browser: Browser, tmp_path: Path) -> None:
    with locust(tmp_path, "double") as ui:
        browser.get(ui.url)
        log_in(browser, PASSWORD)
        start(browser, "steady")
        assert verdict(browser).startswith("conservation FAILED")
        assert "came a second time" in verdict(browser)
        assert browser.find("#emostream .verdict.bad")


def test_without_the_password_nothing_is_shown(browser: Browser, tmp_path: Path) -> None:
    with locust(tmp_path) as ui:
        browser.get(ui.url)
        log_in(browser, "guessed")
        browser.wait_until(lambda: "is not this one" in browser.text("body"))
        for path in ("/", "/run.json", "/stats/requests"):
            browser.get(f"{ui.url}{path}")
            assert "/login" in browser.current_url
            assert not browser.find_elements("css selector", "#emostream")
