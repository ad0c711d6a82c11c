"""Headless Chromium, the page's files alone, and the whole pipeline behind the page."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

import emostream.web
from emostream.local import topology
from emostream.local.servers import HOST
from emostream.local.supervisor import Supervisor
from emostream.local.topology import Layout, Part, Ports

WEB = Path(emostream.web.__file__).parent
# Nothing of a browser may reach beyond this machine, nor leave anything on it.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 30


class Browser(webdriver.Chrome):
    """A Chromium with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options, Service("/usr/bin/chromedriver"))
        self.set_script_timeout(PATIENCE_SECONDS)

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Take a screen of this size, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, **features: str) -> None:
        """Set media features, such as `prefers_reduced_motion="reduce"`."""
        wishes = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})

    def find(self, selector: str) -> Any:
        """The first element that matches a CSS selector."""
        return self.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def wait_until(self, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        """The condition's first true value; fails where none comes in time."""
        return WebDriverWait(self, seconds, poll_frequency=0.1).until(lambda _: condition())

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of an asynchronous script, which sees its arguments as `args`. Fails where it throws."""
        wrapped = f"""
            const done = arguments[arguments.length - 1];
            const args = [...arguments].slice(0, -1);
            const run = async () => {{ {script} }};
            run().then((value) => done({{ value }}), (error) => done({{ error: `${{error}}` }}));
        """
        result = self.execute_async_script(wrapped, *arguments)
        assert "error" not in result, result
        return result.get("value")

    def complaints(self) -> list[str]:
        """What the console has been told as an error or a warning since the last call."""
        return [entry["message"] for entry in self.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


@pytest.fixture
def new_browser(tmp_path: Path) -> Iterator[Callable[[], Browser]]:
    """Starts browsers that end with the test."""
    with ExitStack() as cleanup:

        def start() -> Browser:
            browser = Browser(tmp_path / f"profile-{len(list(tmp_path.iterdir()))}")
            cleanup.callback(browser.quit)
            return browser

        yield start


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    """A browser on a desktop-sized screen."""
    started = new_browser()
    started.resize(1280, 800)
    return started


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on a page from which the page's modules can be imported as `/emostream.js` and so on."""

    class Files(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html>")
            return None

        def log_message(self, *_: object) -> None:
            """Keep the tests' output to the tests."""

    server = ThreadingHTTPServer((HOST, 0), functools.partial(Files, directory=str(WEB)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser(tmp_path_factory.mktemp("modules"))
    browser.get(f"http://{HOST}:{server.server_address[1]}/")
    yield browser
    browser.quit()
    server.shutdown()
    server.server_close()


class Pipeline(threading.Thread):
    """The whole topology, supervised as in the demo by a thread of its own."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self._parts = {part.name: part for part in topology.parts(layout)}
        self._is_ready = threading.Event()
        self._is_over = threading.Event()
        self._failure: Exception | None = None

    @property
    def page(self) -> str:
        """The address that people open."""
        return f"http://{HOST}:{self.layout.ports.registry}/"

    def part(self, name: str) -> Part:
        return self._parts[name]

    def run(self) -> None:
        directory = self.layout.directory
        directory.mkdir(parents=True)
        supervisor = Supervisor(list(self._parts.values()), directory / "topology.json", lambda _: None)
        try:
            supervisor.run_until(lambda: supervisor.all_ready() or self._is_over.is_set())
            self._is_ready.set()
            supervisor.run_until(self._is_over.is_set)
        except Exception as error:
            self._failure = error
            self._is_ready.set()
        finally:
            supervisor.stop()

    def wait_ready(self) -> None:
        assert self._is_ready.wait(150), "the pipeline was not ready in 150 s"
        if self._failure:
            raise self._failure

    def end(self) -> None:
        self._is_over.set()
        self.join()


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Two clusters with a subscriber each, Spark inside the driver, a swarm every half second."""
    ports = Ports.free(clusters=2, subscribers_per_cluster=1)
    directory = tmp_path_factory.mktemp("pipeline") / "state"
    running = Pipeline(Layout(directory, ports, trigger_ms=500, spark_master="local[2]"))
    running.start()
    try:
        running.wait_ready()
        yield running
    finally:
        running.end()
