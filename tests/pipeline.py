"""The whole pipeline, for the tests that need every tier."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from emostream.operate import events
from emostream.operate.events import EventOptions
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part

_EVENT_SECONDS = 60


class Pipeline(threading.Thread):
    """Every tier, supervised as in the demo, by a thread of its own. A `with` starts it, and stops it in the end."""

    def __init__(self, layout: Layout, leave_out: tuple[str, ...] = ()) -> None:
        """`leave_out` are tiers that run elsewhere."""
        super().__init__()
        self.layout = layout
        self._parts = {part.name: part for part in topology.parts(layout) if part.tier not in leave_out}
        self._is_ready = threading.Event()
        self._is_over = threading.Event()
        self._failure: Exception | None = None

    @property
    def page(self) -> str:
        """The address that people open."""
        return f"http://{HOST}:{self.layout.ports.registry}/"

    def part(self, name: str) -> Part:
        return self._parts[name]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `emostream` with these arguments, as an operator of this pipeline does."""
        return command(self.layout, *arguments)

    def operate(self, *arguments: str) -> str:
        """Run a command that must succeed. Returns what it prints."""
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def event(self, name: str, options: EventOptions) -> Iterator[str]:
        """An event that is open in this block, and gone after it. Opened in this process: a command starts slowly."""
        with events.operator(*topology.operator_settings(self.layout), _EVENT_SECONDS) as operator:
            operator.open(name, options)
            try:
                yield name
            finally:
                operator.close(name)
                operator.archive(name, force=True)

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

    def __enter__(self) -> Self:
        self.start()
        try:
            assert self._is_ready.wait(600), "the pipeline was not ready in 600 s"
            if self._failure:
                raise self._failure
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._is_over.set()
        self.join()


def command(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `emostream` with these arguments, as an operator of this topology does."""
    return subprocess.run(
        [sys.executable, "-m", "emostream", *arguments],
        env=topology.environment(layout),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
