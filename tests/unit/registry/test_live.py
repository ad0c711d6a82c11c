"""The live state of all processes. Each one is asked once, however many clients look."""

import asyncio
from collections import Counter

import pytest

from emostream.registry.live import Collector, Rate, RegisteredProcess, figures, series_of

METRICS = """\
# HELP emostream_ingest_reactions_accepted_total Reactions.
# TYPE emostream_ingest_reactions_accepted_total counter
emostream_ingest_reactions_accepted_total 42.0
emostream_subscriber_viewers{kind="sse"} 3.0
emostream_subscriber_viewers{kind="a name with spaces"} 4.0
emostream_http_seconds_bucket{le="0.5"} 9.0
emostream_http_seconds_count 11.0
python_gc_objects_collected_total{generation="0"} 1.0
"""


def test_figures_are_summed_over_labels() -> None:
    assert figures(series_of(METRICS)) == {
        "emostream_ingest_reactions_accepted_total": 42,
        "emostream_subscriber_viewers": 7,
        "emostream_http_seconds_count": 11,
    }


def rates(*looks: tuple[float, dict[str, float]]) -> list[float]:
    rate, found = Rate(), []
    for now_seconds, series in looks:
        rate.take(now_seconds, series)
        found.append(rate.per_second(now_seconds))
    return found


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    assert rates((0, {"a": 100}), (2, {"a": 300}), (4, {"a": 300}), (12.5, {"a": 385})) == [0, 100, 50, 10]
    rate = Rate()
    rate.take(0, {"a": 0})
    rate.take(1, {"a": 5})
    assert (rate.per_second(5), rate.per_second(20)) == (5, 0), "and of a process that says nothing any more it is zero"


def test_an_event_that_closes_takes_nothing_from_the_rate() -> None:
    # Its series goes, and the sum falls. A small one that goes hides in the growth of the others.
    large, small = {"main": 10, "final": 5_000}, {"main": 10, "final": 15}
    for before in (large, small):
        assert rates((0, before), (1, {"main": 40}), (2, {"main": 70})) == [0, 30, 30]


def test_an_event_that_opens_counts_from_its_first_reaction() -> None:
    assert rates((0, {"main": 10}), (1, {"main": 10, "final": 20})) == [0, 20]


def test_a_process_that_was_started_again_counts_from_zero() -> None:
    assert rates((0, {"main": 100, "final": 50}), (1, {"main": 150, "final": 50}), (2, {"main": 10})) == [0, 50, 30]


def ingest(name: str, url: str, admin_url: str) -> RegisteredProcess:
    return RegisteredProcess("ingest", name, url, admin_url, "", leader=False, clients=0, capacity=0)


class FakeProcess:
    """Answers /readyz with 503 and a reason, and /metrics."""

    def __init__(self, metrics: bytes = METRICS.encode()) -> None:
        self.metrics = metrics
        self.requests = Counter[str]()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.requests[path] += 1
        status, body = (
            ("503 Service Unavailable", b'{"detail":"no broker"}') if path == "/readyz" else ("200 OK", self.metrics)
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
        assert (first.per_second, second.per_second) == (0, 0)

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


def test_a_process_has_the_rate_of_its_tiers_counter() -> None:
    name = "emostream_ingest_reactions_accepted_total"

    async def scene() -> None:
        process = FakeProcess(f'{name}{{event="main"}} 10.0\n{name}{{event="final"}} 500.0\n'.encode())
        server = await asyncio.start_server(process.answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        collector = Collector(lambda: [ingest("one", url, url)])
        [first] = await collector.look()
        process.metrics = f'{name}{{event="main"}} 40.0\nemostream_other_total 9000.0\n'.encode()
        async with asyncio.timeout(60):
            while (second := (await collector.look())[0]) == first:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        server.close()
        assert (first.per_second, second.per_second > 0) == (0, True)

    asyncio.run(scene())
