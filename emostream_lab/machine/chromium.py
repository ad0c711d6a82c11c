"""Drives a headless Chromium, for the browser tests, the benchmark and the pictures of the page."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

# The browser must not contact other machines, and must not leave files on this one.
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
TIMEOUT_SECONDS = 30


def _command(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} is not on PATH: `make test-browser` installs it"
    return path


class Browser(webdriver.Chrome):
    """A Chromium with its own profile. `environment`, if given, replaces the environment of this process."""

    def __init__(self, profile: Path, environment: Mapping[str, str] | None = None) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _command("chromium")
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        # The CA of the tests is known to no browser.
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Otherwise Selenium and other clients would connect to this browser through the proxy of the environment.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"
        super().__init__(options, Service(_command("chromedriver"), env=environment))
        self.set_script_timeout(TIMEOUT_SECONDS)

    def run_before_pages(self, script: str) -> None:
        """Run a script in each page of the current tab before the page's own scripts."""
        self.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def forget_site(self) -> None:
        """Delete what the site of the current page has stored."""
        origin = self.execute_script("return location.origin")
        self.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size of the screen, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, **features: str) -> None:
        """Set media features, such as `prefers_reduced_motion="reduce"`."""
        media_features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media_features})

    def find(self, selector: str) -> Any:
        """Return the first element that matches a CSS selector. `#host >>> p` is a `p` in the shadow of `#host`."""
        found = self.find_all(selector)
        assert found, f"nothing matches {selector}"
        return found[0]

    def find_all(self, selector: str) -> list[Any]:
        host, _, inner = selector.partition(" >>> ")
        found: list[Any] = self.find_elements("css selector", host)
        return (
            [each for host in found for each in host.shadow_root.find_elements("css selector", inner)]
            if inner
            else found
        )

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def wait_until(self, condition: Callable[[], Any], seconds: float = TIMEOUT_SECONDS) -> Any:
        """Wait until the condition is true, and return its value. Raises TimeoutException after `seconds`."""
        return WebDriverWait(self, seconds, poll_frequency=0.1).until(lambda _: condition())

    def run(self, script: str, *arguments: Any) -> Any:
        """Run an asynchronous script, which has its arguments in `args`, and return its value. Fails if it throws."""
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
        """Return the errors and warnings on the console since the last call."""
        entries = self.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]
