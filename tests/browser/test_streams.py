"""What Chromium and Firefox ESR make of a subscriber's compressed streams, alone and behind HAProxy with TLS."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emostream.subscriber import frames
from emostream_lab.machine.certificates import Authority, write_identity
from emostream_lab.machine.chromium import Browser
from emostream_lab.machine.firefox import Firefox
from emostream_lab.processes.haproxy import proxy
from emostream_lab.processes.servers import HOST
from tests.browser.standin import StandIn
from tests.integration.behind_haproxy import Fanout
from tests.integration.viewers import wait_until
from tests.unit.subscriber.examples import entry

# Notes what the page's client gets from now on.
WATCH_THE_PAGE = """
    window.seen = [];
    for (const type of ["snapshot", "swarm", "reset", "gap", "repeat"])
      emostream.stream.addEventListener(type, ({ detail }) => window.seen.push(`${type} ${detail.id}`));
"""
# The same with the browser's own client of SSE.
OPEN_AN_EVENT_SOURCE = """
    window.seen = [];
    window.source = new EventSource(args[0]);
    for (const type of ["snapshot", "swarm", "reset"])
      window.source.addEventListener(type, ({ lastEventId }) => window.seen.push(`${type} ${lastEventId}`));
"""


@dataclass
class Service:
    """A subscriber's server, the page, and where a browser finds them."""

    fanout: Fanout
    page: str
    sse_url: str
    ws_url: str

    def publish(self, stream: str, *sequences: int, cutting: bool = False) -> None:
        """Publish these swarms, after all connections of viewers were cut."""

        async def run() -> None:
            server = self.fanout.server
            if cutting:
                for viewer in server.audience.viewers():
                    viewer.abort()
                while server.viewers:  # noqa: ASYNC110 (the audience knows no event loop, so it can set no event)
                    await asyncio.sleep(0.01)
            for sequence in sequences:
                server.publish(entry(stream, sequence), {"🔥": 3 * sequence, "👏": 7})

        self.fanout.do(run)

    def viewers(self) -> dict[str, int]:
        """How many viewers there are of each kind."""
        counts = {kind: self.fanout.server.audience.count(number) for number, kind in enumerate(frames.KINDS)}
        return {kind: count for kind, count in counts.items() if count}


@contextmanager
def directly(standin: StandIn, fanout: Fanout, _folder: Path) -> Iterator[Service]:
    address = f"{HOST}:{fanout.port}/v1"
    yield Service(fanout, f"{standin.url}/", f"http://{address}/stream", f"ws://{address}/ws")


@contextmanager
def behind_haproxy(standin: StandIn, fanout: Fanout, folder: Path) -> Iterator[Service]:
    write_identity(folder / "viewers.pem", Authority().identity("haproxy", is_server_only=True))
    servers = [standin.url.removeprefix("http://")]
    with proxy(
        folder,
        haproxy_subscribers={"1": fanout.port},
        haproxy_ingest_servers=servers,
        haproxy_registry_servers=servers,
    ) as edge:
        address = f"{HOST}:{edge.https_port}"
        streams = f"{address}/subscribers/1/v1"
        standin.ingest_url = f"https://{address}"
        yield Service(fanout, f"https://{address}/", f"https://{streams}/stream", f"wss://{streams}/ws")


@pytest.fixture(params=[directly, behind_haproxy])
def service(request: pytest.FixtureRequest, standin: StandIn, tmp_path: Path) -> Iterator[Service]:
    with Fanout(retry_ms=200) as fanout, request.param(standin, fanout, tmp_path) as service:
        yield service


def wait_for(browser: Browser | Firefox, script: str, expected: Any) -> None:
    """Wait until this script returns what is expected."""
    wait_until(lambda: browser.run(script) == expected, describe=lambda: browser.run(script))


def check_all_that_may_happen(browser: Browser | Firefox, service: Service, kind: str) -> None:
    """Swarms as they come, those that were missed while the connection was cut, and a reset by a new stream."""
    assert service.viewers() == {kind: 1}
    seen: list[str] = []
    for sequence in (4, 5):
        service.publish("s", sequence)
        seen.append(f"swarm s-{sequence}")
        wait_for(browser, "return window.seen", seen)
    service.publish("s", 6, 7, cutting=True)
    seen += ["swarm s-6", "swarm s-7"]
    wait_for(browser, "return window.seen", seen)
    assert service.viewers() == {kind: 1}
    service.publish("t", 1)
    service.publish("t", 2)
    seen += ["reset t-1", "swarm t-2"]
    wait_for(browser, "return window.seen", seen)


@pytest.mark.parametrize(("stream", "kind"), [("sse", "sse_gzip_compact"), ("ws", "ws_deflate_compact")])
def test_the_page_reads_compressed_swarms_resumes_and_is_reset(
    either: Browser | Firefox, standin: StandIn, service: Service, stream: str, kind: str
) -> None:
    standin.streams = {"sse_url": service.sse_url, **({"ws_url": service.ws_url} if stream == "ws" else {})}
    either.get(service.page)
    wait_for(either, "return window.emostream?.stream.sequence", 3)
    either.run(WATCH_THE_PAGE)
    assert either.complaints() == []
    check_all_that_may_happen(either, service, kind)
    assert either.run("return emostream.stream.totals") == {"🔥": 6, "👏": 7}


def test_an_event_source_does_the_same(either: Browser | Firefox, service: Service) -> None:
    either.get(f"{service.page}static/example.html")
    either.run(OPEN_AN_EVENT_SOURCE, service.sse_url)
    wait_for(either, "return window.seen.splice(0)", ["snapshot s-3"])
    check_all_that_may_happen(either, service, "sse_gzip")
