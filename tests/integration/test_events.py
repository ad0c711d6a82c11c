"""Several events on the whole pipeline: each is counted by itself, ends once all of it is counted, and begins anew."""

import asyncio
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from emostream import model
from emostream.client.outcome import Accepted, Outcome, Refused
from emostream.client.reactions import ReactionSender
from emostream.client.session import Kind
from emostream.client.viewer import Ended, Live, Viewer
from emostream.config import KafkaSettings
from emostream.model import DEAD_LETTER_TOPIC, EVENT_COUNTS_HEADER, REACTIONS_TOPIC, EventReaction, Reaction
from emostream.operate.events import EventOptions
from emostream.runtime.kafka import durable_producer
from emostream.swarms.log import last_swarm
from emostream.swarms.rules import progress_of
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from tests.integration.asking import get, post
from tests.integration.test_terminal_client import terminal
from tests.integration.viewers import Connection, wait_until
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

NOW_MS = 1_732_370_000_123
PATIENCE_SECONDS = 60
# Between two reactions of somebody else.
PAUSE_SECONDS = 0.05


def operate(pipeline: Pipeline, *arguments: str) -> str:
    """Run a command for events that must succeed. Returns what it prints."""
    return pipeline.operate("events", *arguments)


@pytest.fixture(params=["final"])
def final(pipeline: Pipeline, request: pytest.FixtureRequest) -> Iterator[str]:
    """An open event, which is gone after the test."""
    event: str = request.param
    with pipeline.event(event, EventOptions("India – Australia", ["🔥", "👏"])):
        yield event


def react(pipeline: Pipeline, path: str, emoji: str, count: int = 1) -> int:
    reactions = [Reaction("u1", emoji, NOW_MS)] * count
    return post(pipeline.layout.ports.ingest, path, model.encode(reactions)).status


def subscribers(pipeline: Pipeline) -> list[int]:
    return [port for cluster in pipeline.layout.ports.subscribers for port in cluster]


def counted(connection: Connection) -> Counter[str]:
    """What the swarms of a viewer add up to. Their sequences are contiguous."""
    messages = [each for each in connection.messages() if not isinstance(each, model.Hello | model.Heartbeat)]
    sequences = [each.sequence for each in messages if not isinstance(each, model.Goodbye)]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    return sum((Counter(each.counts) for each in messages if isinstance(each, model.Swarm)), Counter())


def wait_counted(connection: Connection, wanted: dict[str, int]) -> None:
    wait_until(lambda: counted(connection) == wanted, PATIENCE_SECONDS, connection.seen)


def kafka_of(pipeline: Pipeline) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(f"{HOST}:{pipeline.layout.ports.kafka}",))


def test_an_event_is_counted_apart_from_main_up_to_its_end(pipeline: Pipeline, final: str) -> None:
    path = f"/v1/events/{final}"
    ingest, (first, second) = pipeline.layout.ports.ingest, subscribers(pipeline)
    with (
        Connection(first, f"{path}/stream") as here,
        Connection(second, f"{path}/stream") as there,
        Connection(first, "/v1/stream") as main,
    ):
        for connection in (here, there, main):
            wait_until(connection.seen, PATIENCE_SECONDS, lambda connection=connection: connection.head)
        assert react(pipeline, f"{path}/reactions", "🔥", 900) == 202
        assert react(pipeline, "/v1/reactions", "🔥", 5) == 202
        assert react(pipeline, f"{path}/reactions", "👏", 3) == 202
        # Each event has a palette of its own.
        assert react(pipeline, f"{path}/reactions", "🎉") == 422
        for connection in (here, there):
            wait_counted(connection, {"🔥": 900, "👏": 3})
        wait_counted(main, {"🔥": 5})
        assert json.loads(get(ingest, f"{path}/palette").body) == {"emoji": ["🔥", "👏"], "any": False}

        assert operate(pipeline, "close", final) == f"{final} is closed\n"
        for connection in (here, there):
            connection.wait_end()
            end = connection.messages()[-1]
            assert isinstance(end, model.End)
            assert end.totals == {"🔥": 900, "👏": 3}
        wait_counted(main, {"🔥": 5})

    refusal = post(ingest, f"{path}/reactions", model.encode([Reaction("u1", "🔥", NOW_MS)]))
    assert (refusal.status, json.loads(refusal.body)["event"]) == (410, final)
    stream, sequence = end.id.rsplit("-", 1)
    with Connection(first, f"{path}/stream") as late:
        late.wait_end()
        assert late.seen() == [f"snapshot {stream}-{int(sequence) - 1}", f"end {end.id}"]
    with Connection(second, f"{path}/stream?last_event_id={stream}-{int(sequence) - 1}") as late:
        late.wait_end()
        assert late.seen() == [f"end {end.id}"]
    with Connection(second, f"{path}/stream?last_event_id={end.id}") as over:
        over.wait_end()
        assert over.status == 204


def test_an_event_that_is_opened_again_begins_anew(pipeline: Pipeline, final: str) -> None:
    path, port = f"/v1/events/{final}", subscribers(pipeline)[0]
    assert react(pipeline, f"{path}/reactions", "🔥", 2) == 202
    operate(pipeline, "close", final)
    with Connection(port, f"{path}/stream") as late:
        late.wait_end()
        end = late.messages()[-1]
    assert isinstance(end, model.End)
    # Nothing but the state changes.
    operate(pipeline, "open", final)
    shown = json.loads(operate(pipeline, "show", final))
    assert (shown["title"], shown["palette"], shown["state"]) == ("India – Australia", ["🔥", "👏"], "open")
    with Connection(port, f"{path}/stream?last_event_id={end.id}") as again:
        wait_until(again.seen, PATIENCE_SECONDS, lambda: again.head)
        (reset,) = again.messages()
        assert isinstance(reset, model.Reset)
        assert (reset.id > end.id, reset.totals) == (True, {})
        assert react(pipeline, f"{path}/reactions", "👏") == 202
        wait_counted(again, {"👏": 1})


def test_what_lands_after_the_end_gets_another_end_and_after_archive_is_a_dead_letter(
    pipeline: Pipeline, final: str
) -> None:
    settings, path, port = kafka_of(pipeline), f"/v1/events/{final}", subscribers(pipeline)[0]
    operate(pipeline, "close", final)
    late = model.encode([EventReaction("u1", "🔥", NOW_MS, final), Reaction("u1", "🔥", NOW_MS)])
    before = last_swarm(settings)
    assert before is not None
    with durable_producer(settings) as producer:
        # As an ingest that is cut off from ZooKeeper writes it.
        headers = [("counts", b'{"\xf0\x9f\x94\xa5":1}'), (EVENT_COUNTS_HEADER, model.encode({final: {"🔥": 1}}))]
        producer.send(REACTIONS_TOPIC, late, headers=headers).get(30)

        def has_ended_anew() -> bool:
            last = last_swarm(settings)
            assert last is not None
            return last.parts[final].sequence == before.parts[final].sequence + 2

        wait_until(has_ended_anew, PATIENCE_SECONDS)
        with Connection(port, f"{path}/stream") as viewer:
            viewer.wait_end()
            end = viewer.messages()[-1]
            assert isinstance(end, model.End)
            assert end.totals == {"🔥": 1}

        refused = pipeline.command("events", "archive", final)
        assert (refused.returncode, "or now with --force" in refused.stderr) == (1, True)
        operate(pipeline, "archive", final, "--force")
        main = last_swarm(settings)
        assert main is not None
        assert main.parts == {}
        # The header and the list tell the same.
        for more in (headers, []):
            producer.send(REACTIONS_TOPIC, late, headers=more).get(30)

        def is_set_aside() -> bool:
            last = last_swarm(settings)
            assert last is not None
            return progress_of(last).dead_letters == progress_of(main).dead_letters + 2

        wait_until(is_set_aside, PATIENCE_SECONDS)
        last = last_swarm(settings)
        assert last is not None
        assert last.totals["🔥"] == main.totals["🔥"] + 2, "what is not of the event counts"
        assert last.parts == {}
    assert DEAD_LETTER_TOPIC
    for status in (react(pipeline, f"{path}/reactions", "🔥"), get(port, f"{path}/stream").status):
        assert status == 404
    operate(pipeline, "open", final, "--title", "For the fixture")


def test_the_registry_tells_of_the_events_and_sends_viewers_to_them(pipeline: Pipeline, final: str) -> None:
    registry = pipeline.layout.ports.registry
    operate(pipeline, "open", "hidden", "--title", "Only for those who know", "--unlisted")
    listed = json.loads(get(registry, "/v1/events").body)["events"]
    assert [(each["event"], each["title"]) for each in listed] == [("main", "Main"), (final, "India – Australia")]
    for event in ("hidden", final):
        answer = post(registry, "/v1/assignments", json.dumps({"user_id": "u1", "event": event}).encode())
        assert json.loads(answer.body)["sse_url"].endswith(f"/v1/events/{event}/stream")
    lines = operate(pipeline, "list").splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["main", "open", "yes"],
        [final, "open", "yes"],
        ["hidden", "open", "no"],
    ]
    operate(pipeline, "close", "hidden")
    operate(pipeline, "archive", "hidden", "--force")
    answer = post(registry, "/v1/assignments", json.dumps({"user_id": "u1", "event": "hidden"}).encode())
    assert (answer.status, json.loads(answer.body)["event"]) == (404, "hidden")


class Audience:
    """A viewer of each kind on an event, and who reacts to it."""

    def __init__(self, pipeline: Pipeline, event: str) -> None:
        urls = topology.environment(pipeline.layout)
        self._ingest_url = urls["EMOSTREAM_CLIENT_INGEST_URL"]
        self._event = event
        self.viewers = [
            Viewer(urls["EMOSTREAM_CLIENT_REGISTRY_URL"], f"u-{kind}", event=event, protocol=kind)
            for kind in get_args(Kind)
        ]

    async def send(self, emoji: str, count: int) -> Outcome:
        async with ReactionSender(self._ingest_url, event=self._event) as sender:
            return await sender.send([Reaction("u1", emoji, NOW_MS)] * count)

    async def watch(self, meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> list[Ended]:
        """Return what the viewers return."""
        async with asyncio.timeout(PATIENCE_SECONDS * 3), asyncio.TaskGroup() as group:
            watching = [group.create_task(viewer.run()) for viewer in self.viewers]
            while not all(isinstance(viewer.state, Live) for viewer in self.viewers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await meanwhile()
        return [each.result() for each in watching]


def test_clients_follow_an_event_to_its_end_and_stop_there(pipeline: Pipeline, final: str) -> None:
    audience = Audience(pipeline, final)

    async def react_and_close() -> None:
        assert isinstance(await audience.send("🔥", 900), Accepted)
        assert isinstance(await audience.send("🎉", 1), Refused)
        await asyncio.to_thread(operate, pipeline, "close", final)
        refused = await audience.send("🔥", 1)
        assert refused == Refused(f"The event {final} is closed.")

    with terminal(pipeline.layout, "--event", final) as screen:
        screen.wait_for(lambda: "live from cluster" in screen.text, "connected")
        screen.press("2")
        screen.wait_for(lambda: "👏 accepted in" in screen.text, "the reaction was accepted")
        totals = {"👏": 1, "🔥": 900}
        assert asyncio.run(audience.watch(react_and_close)) == [Ended(totals)] * 2
        screen.wait_for(lambda: screen.process.poll() is not None, "it ended")
        screen.wait_for(lambda: f"The event {final} has ended: 🔥 900   👏 1" in screen.text, "the final totals")
        assert screen.process.returncode == 0
    for viewer in audience.viewers:
        watcher = viewer.watcher
        assert (watcher.gaps, watcher.repeats, watcher.lost, watcher.mismatches) == (0, 0, 0, 0)
        # Who asks again is told that nothing more comes.
        assert asyncio.run(viewer.run()) == Ended(totals)
        assert watcher.snapshots == 1
    printed = pipeline.command("client", "--json", "--event", final)
    messages = [model.decode_stream_message(line) for line in printed.stdout.splitlines()]
    assert [type(message) for message in messages] == [model.Snapshot, model.End]
    assert isinstance(messages[-1], model.End)
    assert (messages[-1].totals, printed.returncode) == (totals, 0)


def test_the_client_says_that_there_is_no_event(pipeline: Pipeline) -> None:
    refused = pipeline.command("client", "--json", "--event", "unknown")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no event unknown: GET /v1/events of the registry lists those that are open" in refused.stderr


@pytest.mark.parametrize("event", ["unknown", "Final", "a" * 49, "..", "main%2F", "%F0%9F%94%A5"])
def test_what_is_no_event_is_refused_by_every_tier(pipeline: Pipeline, event: str) -> None:
    body = model.encode([Reaction("u1", "🔥", NOW_MS)])
    assert post(pipeline.layout.ports.ingest, f"/v1/events/{event}/reactions", body).status == 404
    assert get(subscribers(pipeline)[0], f"/v1/events/{event}/stream").status == 404


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("open", "main", "--title", "x"), "main always exists"),
        (("open", "No", "--title", "x"), "is no id of an event"),
        (("open", "new"), "needs a title"),
        (("open", "new", "--title", "x", "--palette", "any"), "is for main alone"),
        (("open", "new", "--title", "x", "--palette", "fire"), "'fire' is not one emoji"),
        (("close", "new"), "there is no event new"),
        (("archive", "new"), "there is no event new"),
        (("show", "new"), "there is no event new"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(pipeline: Pipeline, arguments: tuple[str, ...], message: str) -> None:
    done = pipeline.command("events", *arguments)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.fixture
def verification(pipeline: Pipeline) -> Iterator[str]:
    """An event with the default palette, for `emostream verify` alone."""
    with pipeline.event("verification", EventOptions("Verification", listed=False)) as event:
        yield event


def test_the_verification_disturbs_nobody_and_nobody_disturbs_it(pipeline: Pipeline, verification: str) -> None:
    with Connection(subscribers(pipeline)[0], "/v1/stream") as main, ThreadPoolExecutor() as background:
        wait_until(main.seen, PATIENCE_SECONDS, lambda: main.head)
        verified = background.submit(pipeline.command, "verify", "--subscribers", "2", "--event", verification)
        posted = 0
        while not verified.done():
            assert react(pipeline, "/v1/reactions", "🎉") == 202
            posted += 1
            time.sleep(PAUSE_SECONDS)
        wait_counted(main, {"🎉": posted})
    done = verified.result()
    assert done.returncode == 0, done.stderr
    assert "1241 reactions were accepted, and counted exactly at a viewer of each of 2 subscribers" in done.stdout


def test_the_verification_fails_if_there_is_more_or_less_than_it_expects(pipeline: Pipeline, verification: str) -> None:
    with ThreadPoolExecutor() as background:
        verified = background.submit(pipeline.command, "verify", "--subscribers", "2", "--event", verification)
        while not verified.done():
            assert react(pipeline, f"/v1/events/{verification}/reactions", "🎉") == 202
            time.sleep(PAUSE_SECONDS)
    assert verified.result().returncode == 1
    assert "Does someone else react to this event?" in verified.result().stderr
    lacking = pipeline.command("verify", "--subscribers", "3", "--timeout", "1")
    assert lacking.returncode == 1
    assert "3 subscribers were expected, but the registry knows 2 (cluster1/" in lacking.stderr
    unknown = pipeline.command("verify", "--subscribers", "2", "--timeout", "5", "--event", "unknown")
    assert unknown.returncode == 1
    assert "unknown" in unknown.stderr


def test_a_request_is_traced_to_its_swarm_and_a_support_bundle_has_every_process(
    pipeline: Pipeline, final: str, tmp_path: Path
) -> None:
    answer = post(
        pipeline.layout.ports.ingest, f"/v1/events/{final}/reactions", model.encode([Reaction("u1", "🔥", NOW_MS)])
    )
    assert answer.status == 202
    request = answer.headers["x-request-id"]
    wait_until(lambda: pipeline.command("trace", request).returncode == 0, PATIENCE_SECONDS)
    last = last_swarm(kafka_of(pipeline))
    assert last is not None
    part = last.parts[final]
    assert f"counted by swarm {part.stream}-1 of the event {final}, sequence 1," in pipeline.operate("trace", request)
    pipeline.operate("support-bundle", str(tmp_path / "support.tar.gz"))
    with tarfile.open(tmp_path / "support.tar.gz") as archive:
        names = " ".join(archive.getnames())
    for tier in ("ingest", "aggregator", "publisher", "subscriber", "audit", "registry"):
        assert f"metrics/{tier}-" in names, names
