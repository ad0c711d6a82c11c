"""The live state of all processes. Each one is asked once, however many clients look."""

import asyncio
from collections import Counter

import pytest

from emostream.registry.live import Collector, RegisteredProcess, figures

METRICS = """\
# HELP emostream_ingest_reactions_accepted_total Reactions.
# TYPE emostream_ingest_reactions_accepted_total counter
emostream_ingest_reactions_accepted_total 42.0
emostream_subscriber_viewers{kind="sse"} 3.0
emostream_subscriber_viewers{kind="a name with spaces"} 4.0
emostream_http_seconds_bucket{le="0.5"} 9.0
emostream_http_seconds_count 11.0
emostream_http_seconds_created 1.7e+09
python_gc_objects_collected_total{generation="0"} 1.0
"""


def test_figures_are_summed_over_labels() -> None:
    assert figures(METRICS) == {
        "emostream_ingest_reactions_accepted_total": 42,
        "emostream_subscriber_viewers": 7,
        "emostream_http_seconds_count": 11,
    }


def ingest(name: str, url: str, admin_url: str) -> RegisteredProcess:
    return RegisteredProcess("ingest", name, url, admin_url, "", leader=False, clients=0, capacity=0)


class FakeProcess:
    """Answers /readyz with 503 and a reason, and /metrics."""

    def __init__(self, metrics: bytes = METRICS.encode()) -> None:
        self._metrics = metrics
        self.requests = Counter[str]()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.requests[path] += 1
        status, body = (
            ("503 Service Unavailable", b'{"detail":"no broker"}') if path == "/readyz" else ("200 OK", self._metrics)
        )
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


def test_many_looks_at_once_ask_each_process_once() -> None:
    async def scene() -> None:
        process = FakeProcess()
        server = await asyncio.start_server(process.answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        collector = Collector(
            lambda: [
                ingest("one", "http://h", url),
                ingest("two", url, "http://127.0.0.1:1"),
            ]
        )
        looks = await asyncio.gather(*(collector.look() for _ in range(50)))
        server.close()
        assert process.requests == {"/readyz": 1, "/metrics": 1}
        [first, second] = looks[0]
        assert (first.ready, first.reason) == (False, "no broker")
        assert first.metrics["emostream_subscriber_viewers"] == 7
        assert (second.ready, second.reason, second.metrics) == (False, "it does not answer", {})
        assert all(look is looks[0] for look in looks)

    asyncio.run(scene())


@pytest.mark.parametrize("metrics", [b"emostream_x_total many\n", b"emostream_x_total\n", b"\xff"])
def test_metrics_that_cannot_be_read_cost_the_others_nothing(metrics: bytes) -> None:
    async def scene() -> None:
        processes = [FakeProcess(), FakeProcess(metrics)]
        servers = [await asyncio.start_server(process.answer, "127.0.0.1", 0) for process in processes]
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        [first, second] = await Collector(lambda: [ingest(url, url, url) for url in urls]).look()
        for server in servers:
            server.close()
        assert first.metrics["emostream_subscriber_viewers"] == 7
        assert (second.reason, second.metrics) == ("no broker", {})

    asyncio.run(scene())
