"""Drives a headless Firefox ESR, for the browser tests.

It speaks WebDriver BiDi with Firefox. Selenium would need geckodriver, which Debian does not have.
"""

import itertools
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

from emostream.errors import EmoStreamError
from emostream_lab.processes.process import Process

# It ends a test that hangs. On a busy machine the start alone takes a minute.
_TIMEOUT_SECONDS = 240
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """A Firefox with its own profile. Its methods do what those of `chromium.Browser` do.

    It contacts no other machine: Firefox sets its preferences so when it is driven.
    """

    def __init__(self, profile: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start it, with `environment` added to that of this process.

        Raises EmoStreamError if there is no firefox-esr, or if it does not start.
        """
        command = shutil.which("firefox-esr")
        if command is None:
            raise EmoStreamError("firefox-esr is not on PATH: `make test-firefox` installs it.")
        self._process = Process(
            "firefox-esr",
            [command, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
            log_file=profile / "firefox.log",
            environment={**(environment or {}), "HOME": str(profile)},
            probe=lambda: self._address() is not None,
        )
        self._numbers = itertools.count(1)
        self._complaints: list[str] = []
        with ExitStack() as starting:
            starting.callback(self._process.stop, 0)
            self._process.start()
            self._process.wait_ready(_TIMEOUT_SECONDS)
            self._connection = starting.enter_context(connect(f"{self._address()}/session", proxy=None))
            capabilities = {"acceptInsecureCerts": True, "proxy": {"proxyType": "direct"}}
            self._command("session.new", capabilities={"alwaysMatch": capabilities})
            self._command("session.subscribe", events=["log.entryAdded"])
            self._tab = self._command("browsingContext.getTree")["contexts"][0]["context"]
            self._running = starting.pop_all()

    def quit(self) -> None:
        """End it. What it has not written to its profile is lost."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.quit()

    def get(self, url: str) -> None:
        """Open a page, and wait until it has loaded."""
        self._command("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run an asynchronous script, which has its arguments in `args`, and return its value. Fails if it throws."""
        run = f"(async (...args) => {{ {script} }})(...{json.dumps(arguments)})"
        expression = f"{run}.then((value) => JSON.stringify(value ?? null))"
        done = self._command("script.evaluate", expression=expression, target={"context": self._tab}, awaitPromise=True)
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"]["value"])

    def complaints(self) -> list[str]:
        """Return the errors and warnings on the console since the last call."""
        # What was logged before this answer has come before it.
        self._command("session.status")
        complaints, self._complaints = self._complaints, []
        return complaints

    def _address(self) -> str | None:
        found = _LISTENING.search(self._process.log_text())
        return found[1] if found else None

    def _command(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result. Fails if Firefox refuses it, or does not answer in time."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._connection.recv(_TIMEOUT_SECONDS))).get("id") != number:
            self._note(answer)
        assert answer["type"] == "success", answer
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "log.entryAdded" and event["params"]["level"] in {"error", "warn"}:
            self._complaints.append(event["params"]["text"])
