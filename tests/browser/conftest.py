"""Headless Chromium, the page's files alone, and the whole pipeline behind the page."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import emostream.web
from emostream_lab.machine.chromium import Browser
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part, Ports

WEB = Path(emostream.web.__file__).parent


@pytest.fixture
def new_browser(tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """Starts browsers that end with the test; `environment` replaces that of this process."""
    with ExitStack() as cleanup:

        def start(environment: Mapping[str, str] | None = None) -> Browser:
            browser = Browser(tmp_path / f"profile-{len(list(tmp_path.iterdir()))}", environment)
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
def module_page() -> Iterator[str]:
    """The address of a page with the style and the modules of the real one; these are at `/emostream.js` and so on."""

    class Files(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b'<!doctype html><link rel="stylesheet" href="style.css">')
            return None

        def log_message(self, *_: object) -> None:
            """Keep the tests' output to the tests."""

    server = ThreadingHTTPServer((HOST, 0), functools.partial(Files, directory=str(WEB)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def modules(module_page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on the page of the modules."""
    browser = Browser(tmp_path_factory.mktemp("modules"))
    browser.get(module_page)
    yield browser
    browser.quit()


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
