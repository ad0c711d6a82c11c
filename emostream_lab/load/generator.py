"""The part of a Locust process that has users: it drives them during a run, and reports to the judge at the end."""

from collections.abc import Callable
from random import Random
from typing import Any

import gevent
import msgspec
from locust.env import Environment

from emostream.client.errors import NoAnswerError
from emostream.client.session import Kind
from emostream.model import MAIN, Swarm, decode
from emostream_lab.account.account import RunAccount
from emostream_lab.load.http import Endpoint
from emostream_lab.load.options import Options
from emostream_lab.load.record import Record
from emostream_lab.load.report import DELIVERY, END_TO_END
from emostream_lab.load.run import Run, now_seconds
from emostream_lab.load.sender import Portion, Sender
from emostream_lab.load.verdict import Report
from emostream_lab.load.viewer import Viewer

# Messages between the processes of a run.
FINISH = "emostream-finish"
REPORT = "emostream-report"

# Once sending stops, accepted reactions have this long to reach the viewers.
FINISH_SECONDS = 90.0
# A swarm is timed when all viewers have it, or after this long.
_ARRIVAL_SECONDS = 10.0
_TRACE_ATTEMPTS = 10
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 1.0


class _Trace(msgspec.Struct):
    """What a subscriber knows about one swarm.

    `window_end` is in milliseconds since the epoch. `counted` maps each partition to the offset after the last record
    that is counted.
    """

    window_end: int
    counted: dict[int, int]


class Generator:
    """The state that the users of this process share. Locust's events and messages call its methods."""

    def __init__(self, environment: Environment) -> None:
        self.record = Record(environment)
        self.run: Run | None = None
        self._environment = environment
        self._draw = Random()  # noqa: S311 (no secret)
        self._background: list[gevent.Greenlet] = []
        environment.events.test_start.add_listener(self._begin)
        environment.events.test_stop.add_listener(self._end)
        environment.events.user_error.add_listener(self._note_user_error)
        environment.runner.register_message(FINISH, self._finish, concurrent=True)

    def sender(self, portion: Portion) -> Sender:
        """Return a sender for a user that sends this portion of all reactions."""
        return Sender(self._current, self._ingest, self.record, portion, Random(self._draw.random()))  # noqa: S311

    def viewer(self, kind: Kind) -> Viewer:
        """Return a viewer for a user that watches. The run's shape decides whether it leaves, and whether it reads."""
        run = self._current
        is_slow = self._draw.random() < run.shape.slow_share
        name = f"load-{self._draw.randrange(1_000_000_000)}"
        viewer = Viewer(kind, name, self._registry, self.record, self._replayed if is_slow else self._seen)
        viewer.spectator.is_slow = is_slow
        viewer.mean_stay_seconds = run.shape.mean_stay_seconds
        run.tally.spectators.append(viewer.spectator)
        return viewer

    @property
    def _current(self) -> Run:
        if self.run is None:
            raise RuntimeError("a user was started before its run")
        return self.run

    # Handlers that Locust calls.

    def _begin(self, environment: Environment, **_: Any) -> None:
        options = Options.of(environment)
        self._palette = Endpoint(f"{options.ingest_url}/v1/palette")
        self._ingest = Endpoint(f"{options.ingest_url}/v1/reactions")
        self._registry = Endpoint(f"{options.registry_url}/v1/assignments")
        self.record.failures = 0
        self.run = Run(options.audience, options.shape, now_seconds())
        self._witness = Viewer("sse", "load-witness", self._registry, self.record, self._seen)
        self._background = [gevent.spawn(self._open), gevent.spawn(keep, self._witness)]

    def _finish(self, **_: Any) -> None:
        """Stop sending, wait until viewers have seen all accepted reactions, and report. The wait is bounded."""
        run = self._current
        run.stop_sending()
        tally = run.tally
        wait(lambda: not (run.in_flight or tally.end_to_end.waiting or tally.behind(self._head)), FINISH_SECONDS)
        runner = self._environment.runner
        account = RunAccount({MAIN: tally.account(self._head)}, self.record.failures)
        report = Report(worker=runner.client_id, sequence=self._head, account=account, clock=str(run.clock))
        runner.send_message(REPORT, msgspec.to_builtins(report))

    def _end(self, **_: Any) -> None:
        gevent.killall(self._background, block=False)

    def _note_user_error(self, **_: Any) -> None:
        self.record.failures += 1

    # Background work beside the users.

    @property
    def _head(self) -> int:
        """The newest swarm that the witness has seen. The witness watches during the whole run."""
        return self._witness.session.watcher.sequence

    def _open(self) -> None:
        """Start sending once the palette is known and the witness is connected, then time the swarms."""
        palette = self._ask_palette()
        wait(lambda: self._head >= 0)
        self._current.begin_sending(palette)
        self._time_swarms(self._current)

    def _ask_palette(self) -> list[str]:
        while True:
            try:
                return decode(self._palette.get().body, _Palette).emoji
            except (NoAnswerError, msgspec.DecodeError) as error:
                self.record.failed("GET", "/v1/palette", str(error))
                gevent.sleep(_RETRY_SECONDS)

    def _time_swarms(self, run: Run) -> None:
        sequence = self._head
        while True:
            sequence += 1
            wait(lambda: self._head >= sequence)  # noqa: B023 (it is called before the next round)
            wait(lambda: not run.tally.behind(sequence), _ARRIVAL_SECONDS)  # noqa: B023
            trace = self._trace(sequence)
            if trace is not None:
                self._time(run, sequence, trace)

    def _time(self, run: Run, sequence: int, trace: _Trace) -> None:
        """Record the latency of each reaction in this swarm, from its due time to the swarm's arrival at a viewer."""
        last_due = float("-inf")
        for latency in run.tally.end_to_end.covered(sequence, trace.counted, self._draw.choice):
            last_due = max(last_due, latency.due_seconds)
            self.record.timed(END_TO_END, latency.latency_ms, latency.reactions)
        if arrivals := run.tally.end_to_end.arrivals(sequence):
            run.clock.observe(trace.window_end, last_due * 1_000, arrivals[0] * 1_000)

    def _trace(self, sequence: int) -> _Trace | None:
        """Ask the witness's subscriber about a swarm. Returns None after `_TRACE_ATTEMPTS` failed attempts."""
        reason = "the witness has no subscriber"
        for _ in range(_TRACE_ATTEMPTS):
            if (assignment := self._witness.session.assignment) is not None:
                url = assignment.sse_url.replace("/v1/stream", f"/v1/trace?sequence={sequence}")
                try:
                    return decode(Endpoint(url).get().body, _Trace)
                except (NoAnswerError, msgspec.DecodeError) as error:
                    reason = str(error)
            gevent.sleep(_RETRY_SECONDS)
        self.record.failed("GET", "/v1/trace", reason)
        return None

    def _seen(self, swarm: Swarm, came_seconds: float, opened_seconds: float) -> None:
        run = self._current
        window_end_ms = swarm.window.end - run.clock.correction_ms
        is_live = run.tally.seen(swarm, came_seconds, opened_seconds)
        self.record.timed(DELIVERY, came_seconds * 1_000 - window_end_ms if is_live else None)

    def _replayed(self, swarm: Swarm, came_seconds: float, _: float) -> None:
        """Count a swarm that a slow viewer got. Its arrival says nothing about how long a swarm takes."""
        self._current.tally.seen(swarm, came_seconds, float("inf"))
        self.record.timed(DELIVERY, None)


class _Palette(msgspec.Struct):
    emoji: list[str]


def keep(viewer: Viewer) -> None:
    """Keep a viewer watching until its event ends."""
    while (away_seconds := viewer.hold(gevent.sleep)) is not None:
        gevent.sleep(away_seconds)


def wait(condition: Callable[[], object], timeout_seconds: float = float("inf")) -> None:
    """Return once the condition holds or the timeout passes."""
    deadline = now_seconds() + timeout_seconds
    while not condition() and now_seconds() < deadline:
        gevent.sleep(_POLL_SECONDS)


def report_of(data: Any) -> Report:
    """Decode the report in a message."""
    return msgspec.convert(data, Report)
