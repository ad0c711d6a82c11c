"""The Python client does what clients/cases.json says. The JavaScript client runs the same cases."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from emostream import model
from emostream.client import sse
from emostream.client.errors import NoAnswerError, NoEventError, NotAnsweredError, StreamLostError
from emostream.client.http1 import Response
from emostream.client.outcome import Accepted, Refused, outcome_of
from emostream.client.reconnect import backoff_seconds
from emostream.client.session import Kind, Session
from emostream.client.watcher import Continuity
from emostream.subscriber import frames, http
from tests.unit.client.test_streams import acceptance_of

CASES = json.loads((Path(__file__).parents[3] / "clients" / "cases.json").read_text())
ON_EACH_TRANSPORT = [
    pytest.param(case, kind, id=f"{kind}: {case['what']}")
    for case in CASES["viewer"]
    for kind in case.get("over", ["sse", "ws"])
]


def body_of(step: dict[str, Any]) -> bytes:
    body = step.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def answer_of(step: dict[str, Any]) -> Response | NoAnswerError:
    if step["status"] is None:
        return NotAnsweredError("no answer came")
    headers = {"retry-after": step["retry_after"]} if "retry_after" in step else {}
    return Response(step["status"], headers, body_of(step), keeps_alive=True)


def message_of(told: dict[str, Any]) -> model.StreamMessage:
    (kind, value), *_ = told.items()
    match kind:
        case "hello":
            return model.Hello(value)
        case "heartbeat":
            return model.Heartbeat()
        case "goodbye":
            return model.Goodbye(value)
        case "swarm":
            sequence = int(value.partition("-")[2])
            return model.Swarm(value, sequence, model.Window(0, 1), 1, {"🔥": 1}, {"🔥": 1}, told["totals"])
        case "compact":
            sequence = int(value.partition("-")[2])
            counts = told["counts"]
            shown = dict.fromkeys(counts, 1)
            return model.Swarm(value, sequence, model.Window(0, 1), sum(counts.values()), counts, shown, {})
    sequence = int(value.partition("-")[2])
    return {"snapshot": model.Snapshot, "reset": model.Reset, "end": model.End}[kind](value, sequence, told["totals"])


def frame_of(told: dict[str, Any], kind: Kind) -> bytes:
    if "raw" not in told:
        form = frames.COMPACT if "compact" in told else frames.FULL
        return frames.of(message_of(told))[(frames.SSE if kind == "sse" else frames.WS) + form]
    return (
        f"data: {told['raw']}\n\n".encode()
        if kind == "sse"
        else Frame(Opcode.TEXT, told["raw"].encode()).serialize(mask=False)
    )


class Client:
    """A session with what a shell around it does, and notes of what it told the application."""

    def __init__(self, case: dict[str, Any], kind: Kind) -> None:
        self.kind = kind
        self.event = case.get("event", model.MAIN)
        form = case.get("form", "full")
        self.session = Session("u1", kind, lambda: case.get("draw", 0), self.event, form)
        self.state = "connecting"
        self.delivered: list[str] = []
        self.wait: tuple[float, str] | None = None
        self.patience_seconds = 0.0

    def ask(self, step: dict[str, Any], name: str) -> None:
        question = json.loads(self.session.question())
        assert question == {"user_id": "u1", "event": self.event, "exclude": step["asks"]}
        assigned = model.Assignment(name, "c", f"http://{name}/v1/stream", f"ws://{name}/v1/ws")
        answer = answer_of(step) if "status" in step else Response(200, {}, model.encode(assigned), keeps_alive=True)
        try:
            self.session.assigned(answer)
        except NoEventError:
            self.state = "stopped"
        except StreamLostError as loss:
            self.lose(loss)

    def open(self, step: dict[str, Any]) -> None:
        assert self.session.assignment is not None
        assert self.session.watcher.resume_id == step["resume"]
        stream = self.session.stream(self.session.assignment)
        assert stream.address.host == step["opens"]
        request = stream.request()
        assert (step["resume"] or "heartbeats=1").encode() in request
        try:
            for piece in self.pieces(step, request):
                for message in stream.feed(piece):
                    if self.session.take(message) is Continuity.FITS:
                        self.note(message)
            if step.get("then") != "open" and step.get("status", 200) is not None:
                raise stream.end()
        except StreamLostError as loss:
            self.lose(loss)
        else:
            self.state = "live"
            self.patience_seconds = stream.silence_timeout_seconds

    def pieces(self, step: dict[str, Any], request: bytes) -> Iterator[bytes]:
        """What the subscriber sends."""
        if step.get("status", 200) is None:
            return
        if "status" in step:
            more = [("Retry-After", step["retry_after"])] if "retry_after" in step else []
            length = [] if step["status"] == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(body_of(step))))]
            yield http.head(HTTPStatus(step["status"]), [*length, *more]) + body_of(step)
        elif self.kind == "sse":
            yield http.head(HTTPStatus.OK, [("Content-Type", "text/event-stream")])
            if "retry_ms" in step:
                yield frames.retry(step["retry_ms"])
        else:
            yield acceptance_of(request)
        for told in step.get("messages", []):
            yield frame_of(told, self.kind)
        if isinstance(step.get("then"), dict):
            yield frames.close(step["then"]["closes"], step["then"]["reason"])

    def note(self, message: model.ViewerMessage) -> None:
        assert not isinstance(message, model.Goodbye)
        self.delivered.append(f"{type(message).__name__.lower()} {message.id}")

    def lose(self, loss: StreamLostError) -> None:
        seconds = self.session.lost(loss)
        self.state = "ended" if seconds is None else "waiting"
        self.wait = None if seconds is None else (seconds, loss.reason)

    def fall_silent(self, ms: int) -> None:
        assert self.patience_seconds == ms / 1_000
        self.lose(StreamLostError("the subscriber is silent"))


@pytest.mark.parametrize(("case", "kind"), ON_EACH_TRANSPORT)
def test_a_viewer_does_what_the_case_says(case: dict[str, Any], kind: Kind) -> None:
    client = Client(case, kind)
    steps = case["steps"]
    for index, step in enumerate(steps):
        if "asks" in step:
            # Only after a goodbye is there no wait to be told.
            assert client.wait is None or (client.wait[0] == 0 and "goodbye" in client.wait[1])
            client.ask(step, steps[index + 1]["opens"] if "status" not in step else "")
        elif "opens" in step:
            client.open(step)
        elif "silent_for_ms" in step:
            client.fall_silent(step["silent_for_ms"])
        else:
            assert client.wait is not None
            seconds, reason = client.wait
            assert seconds == pytest.approx(step["waits_ms"] / 1_000)
            assert reason.startswith(step["because"])
            client.wait = None
    assert (client.state, client.delivered) == (case["ends"], case["delivered"])
    assert client.session.watcher.totals == case["totals"]


@pytest.mark.parametrize("case", CASES["compact"], ids=lambda case: case["what"])
def test_a_swarm_in_the_compact_form_is_made_whole(case: dict[str, Any]) -> None:
    swarm = model.decode(json.dumps(case["swarm"]), model.Swarm)
    compact = model.decode_compact_message(json.dumps(case["compact"]))
    assert isinstance(compact, model.CompactSwarm)
    assert compact.expand(case["totals"]) == swarm
    assert model.CompactSwarm.of(swarm) == compact


@pytest.mark.parametrize("case", CASES["backoff"])
def test_the_back_off_grows_to_a_bound(case: dict[str, Any]) -> None:
    assert backoff_seconds(case["failures"], case["draw"]) * 1_000 == case["ms"]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
@pytest.mark.parametrize("case", CASES["event_streams"], ids=lambda case: case["what"])
def test_an_event_stream_is_parsed_from_pieces_of_any_size(case: dict[str, Any], size: int) -> None:
    data, parser = case["text"].encode(), sse.Parser()
    events = [event for start in range(0, len(data), size) for event in parser.feed(data[start : start + size])]
    assert [[event.type, event.data.decode()] for event in events] == case["events"]
    assert (parser.retry_seconds or 0) * 1_000 == case["retry_ms"]


@pytest.mark.parametrize("case", CASES["reactions"], ids=lambda case: f"{case['status']} {case['reason']}")
def test_an_answer_of_ingest_has_one_outcome(case: dict[str, Any]) -> None:
    outcome = outcome_of(answer_of(case))
    name = {Accepted: "accepted", Refused: "refused"}.get(type(outcome), "unknown")
    assert name == case["outcome"]
    if isinstance(outcome, Accepted):
        assert outcome.record == model.Record(**case["body"]["record"])
    else:
        assert outcome.reason.startswith(case["reason"])
