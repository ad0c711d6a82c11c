"""The terminal client in a real pseudo-terminal, on the whole pipeline."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest

from emostream_lab.processes import topology
from emostream_lab.processes.topology import Layout
from tests.pipeline import Pipeline

CLIENT = [sys.executable, "-m", "emostream", "client"]
TIMEOUT_SECONDS = 60

pytestmark = pytest.mark.spark


class Terminal:
    """A terminal of a given size in which one command runs, and its current screen."""

    def __init__(self, command: list[str], layout: Layout, columns: int, lines: int) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        self.modes_before = termios.tcgetattr(slave)
        environment = {**os.environ, **topology.environment(layout), "TERM": "xterm-256color"}
        # Only its controlling terminal tells a command that its size has changed.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        self._slave = slave
        self.output = b""

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    @property
    def modes(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Resize as a terminal does: the kernel sends SIGWINCH to the command."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}; the screen is\n{self.text}"
            self._read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def _read(self) -> None:
        readable, _, _ = select.select([self._master], [], [], 0.1)
        if readable:
            data = os.read(self._master, 65536)
            self.output += data
            self._stream.feed(data)


@contextmanager
def terminal(layout: Layout, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal([*CLIENT, "--user-id", "terminal-test", *arguments], layout, columns=100, lines=30)
    try:
        yield opened
    finally:
        opened.close()


def test_a_key_sends_a_reaction_and_it_comes_back_as_a_swarm(pipeline: Pipeline) -> None:
    with terminal(pipeline.layout) as screen:
        screen.wait_for(lambda: "live from cluster" in screen.text, "connected")
        screen.press("1")
        screen.wait_for(lambda: "accepted in" in screen.text, "the reaction was accepted")
        # The sky is everything except the lines at the bottom: totals, keys, state.
        screen.wait_for(lambda: any("🔥" in line for line in screen.text.splitlines()[:20]), "it flies")


def test_it_fits_a_resized_terminal_and_leaves_it_as_it_was(pipeline: Pipeline) -> None:
    with terminal(pipeline.layout) as screen:
        screen.wait_for(lambda: "live from cluster" in screen.text, "connected")
        screen.resize(60, 20)
        screen.wait_for(lambda: "q quits" in screen.text.splitlines()[19], "the foot is on the new last line")
        screen.press("q")
        screen.wait_for(lambda: screen.process.poll() is not None, "it ended")
        assert screen.process.returncode == 0
        assert screen.modes == screen.modes_before
        shown_last = screen.output.rfind(b"\x1b[?25h")
        assert screen.output.rfind(b"\x1b[?1049l") > screen.output.rfind(b"\x1b[?1049h")
        assert shown_last > screen.output.rfind(b"\x1b[?25l")


def test_json_is_one_message_a_line(pipeline: Pipeline) -> None:
    environment = {**os.environ, **topology.environment(pipeline.layout)}
    with subprocess.Popen([*CLIENT, "--json"], env=environment, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        first = json.loads(client.stdout.readline())
        client.terminate()
    assert first["type"] == "snapshot"
    assert set(first) == {"type", "id", "sequence", "totals"}


@pytest.mark.parametrize("lines", [0, 1])
def test_json_ends_when_nobody_reads_it_any_more(pipeline: Pipeline, lines: int) -> None:
    # The locale cannot encode emoji, and nobody reacts, so only the first line is written.
    environment = {**os.environ, **topology.environment(pipeline.layout), "PYTHONIOENCODING": "latin-1"}
    with subprocess.Popen(
        [*CLIENT, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        for _ in range(lines):
            assert json.loads(client.stdout.readline())["type"] == "snapshot"
        client.stdout.close()
        try:
            assert client.wait(TIMEOUT_SECONDS) == 0
        finally:
            client.kill()
        assert client.stderr is not None
        assert client.stderr.read() == b""


def test_without_ingest_it_says_what_to_check() -> None:
    master, slave = pty.openpty()
    try:
        refused = subprocess.run(
            [*CLIENT, "--ingest-url", "http://127.0.0.1:9"],
            env={**os.environ, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    finally:
        os.close(slave)
        os.close(master)
    assert refused.returncode == 1
    assert "EMOSTREAM_CLIENT_INGEST_URL" in refused.stderr


def test_without_a_terminal_it_says_so() -> None:
    refused = subprocess.run(CLIENT, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    assert refused.returncode == 1
    assert "`--json` prints them" in refused.stderr
