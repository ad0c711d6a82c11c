"""The demo's switch kills what the page of the demo asks for, and does nothing for anybody else."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab import switch
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST, free_port
from emostream_lab.processes.topology import Part

PAGE_PORT = 8001
PAGE = f"http://{HOST}:{PAGE_PORT}"


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def port(tmp_path: Path, victim: subprocess.Popen[bytes]) -> Iterator[int]:
    """The port of a switch for a demo of one process and a command that has ended."""
    subscriber = Part("subscriber", Process("subscriber@9001", [], log_file=tmp_path / "log"), 9001, 10001)
    topics = Part("topics", Process("topics", [], log_file=tmp_path / "log"), runs_once=True)
    state = tmp_path / "topology.json"
    row = {"name": subscriber.name, "tier": "subscriber", "state": "ready", "pid": victim.pid}
    state.write_text(json.dumps([row]))
    own = free_port()
    with switch.serving(own, [subscriber, topics], state, PAGE_PORT):
        yield own


def ask(port: int, method: str, path: str, origin: str | None) -> tuple[int, object, str | None]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request(method, path, headers={} if origin is None else {"Origin": origin})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content, answer.headers["Access-Control-Allow-Origin"]


def test_the_page_is_told_which_processes_there_are(port: int) -> None:
    told = [{"name": "subscriber@9001", "tier": "subscriber", "ports": [9001, 10001]}]
    assert ask(port, "GET", "/processes", PAGE) == (200, told, PAGE)
    assert ask(port, "GET", "/others", PAGE)[0] == 404


def test_the_page_kills_a_process(port: int, victim: subprocess.Popen[bytes]) -> None:
    assert ask(port, "OPTIONS", "/processes/subscriber%409001", PAGE)[0] == 200
    status, content, _ = ask(port, "DELETE", "/processes/subscriber%409001", PAGE)
    assert (status, content) == (200, {"detail": "Killed subscriber@9001 (SIGKILL). The demo starts it again."})
    assert victim.wait(30) == -9


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", f"http://{HOST}:{PAGE_PORT + 1}", f"https://{HOST}:8001"]
)
def test_another_page_is_told_nothing_and_kills_nothing(
    port: int, victim: subprocess.Popen[bytes], origin: str | None
) -> None:
    for method, path in (("GET", "/processes"), ("OPTIONS", "/processes/x"), ("DELETE", "/processes/subscriber@9001")):
        status, content, allowed = ask(port, method, path, origin)
        assert (status, content, allowed) == (403, {"detail": "This is for the page of the demo alone."}, None)
    assert victim.poll() is None


def test_what_does_not_run_is_not_killed(port: int) -> None:
    status, content, _ = ask(port, "DELETE", "/processes/kafka", PAGE)
    assert status == 409
    assert "there is no tier or process kafka" in str(content)
    assert ask(port, "DELETE", "/processes/", PAGE)[0] == 404


def test_a_taken_port_is_told(port: int, tmp_path: Path) -> None:
    with (
        pytest.raises(EmoStreamError, match=f"port {port} cannot be bound"),
        switch.serving(port, [], tmp_path, PAGE_PORT),
    ):
        pass
