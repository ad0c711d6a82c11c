"""Headless browsers, and a page with only the page's modules."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import emostream.web
from emostream_lab.machine.chromium import Browser
from emostream_lab.machine.firefox import Firefox
from emostream_lab.processes.servers import HOST
from tests.browser.elsewhere import Pages
from tests.browser.standin import StandIn

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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that the tests of a file share, because a new one takes seconds. Each opens its page anew."""
    started = Browser(tmp_path_factory.mktemp("shared"))
    yield started
    started.quit()


@pytest.fixture(scope="module", params=["chromium", pytest.param("firefox", marks=pytest.mark.firefox)])
def shared_either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser | Firefox]:
    """A browser of each kind, which the tests of a file share."""
    kind = {"chromium": Browser, "firefox": Firefox}[request.param]
    with kind(tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def either(shared_either: Browser | Firefox) -> Browser | Firefox:
    """The same, with nothing of the test before."""
    shared_either.get("about:blank")
    shared_either.complaints()
    return shared_either


@pytest.fixture
def browser(shared: Browser) -> Iterator[Browser]:
    """A new tab on a desktop-sized screen, of a browser that has stored nothing for the sites of the test."""
    first = shared.current_window_handle
    shared.switch_to.new_window("tab")
    shared.complaints()
    shared.resize(1280, 800)
    yield shared
    for tab in shared.window_handles:
        if tab != first:
            shared.switch_to.window(tab)
            shared.forget_site()
            shared.close()
    shared.switch_to.window(first)


@pytest.fixture
def shared_desktop(shared: Browser) -> Browser:
    """The shared browser on a desktop-sized screen, with nothing of the test before."""
    shared.get("about:blank")
    shared.complaints()
    shared.resize(1280, 800)
    return shared


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """The servers, of which a test says what they do."""
    started = StandIn()
    yield started
    started.close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Pages]:
    """Another site."""
    pages = Pages()
    yield pages
    pages.close()


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def modules(module_page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on the page of the modules."""
    browser = Browser(tmp_path_factory.mktemp("modules"))
    browser.get(module_page)
    yield browser
    browser.quit()
