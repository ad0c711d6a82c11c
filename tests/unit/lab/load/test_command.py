"""The check for a running pipeline never uses a proxy."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from emostream.config import ClientSettings
from emostream_lab.load import command
from emostream_lab.load.command import LoadOptions
from emostream_lab.processes.supervisor import Supervisor


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_running_pipeline_is_found_behind_a_proxy(monkeypatch: pytest.MonkeyPatch, registry_url: str) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    assert command._answers(registry_url)


def test_the_load_goes_to_the_running_pipeline_and_takes_its_events_away(
    monkeypatch: pytest.MonkeyPatch, registry_url: str
) -> None:
    done: list[tuple[str, Sequence[str]]] = []

    def drive(
        _: LoadOptions, events: Sequence[str], environment: Mapping[str, str], supervisor: Supervisor | None
    ) -> int:
        assert supervisor is None
        done.append((environment["EMOSTREAM_CLIENT_REGISTRY_URL"], events))
        return 0

    def start(*_: object) -> None:
        raise AssertionError("it starts a pipeline of its own")

    monkeypatch.setattr(command, "_drive", drive)
    monkeypatch.setattr(command, "Supervisor", start)
    monkeypatch.setattr(command.events, "open_all", lambda *given: done.append(("open", given[-1])))
    monkeypatch.setattr(command.events, "close_all", lambda *given: done.append(("close", given[-1])))
    options = LoadOptions("steady", viewers=1, reactions=1, seconds=1, workers=1, events=2)
    assert command.run(options, ClientSettings(registry_url=registry_url)) == 0
    events = ["main", "load-2"]
    assert done == [("open", events), (registry_url, events), ("close", events)]


def test_where_nothing_listens_no_pipeline_runs() -> None:
    assert not command._answers("http://127.0.0.1:1")
