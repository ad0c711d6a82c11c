"""The part of a Locust process that has users: it drives them during a run, and reports to the judge at the end."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import gevent
import msgspec
from gevent.lock import BoundedSemaphore
from locust.env import Environment

from emostream.client.errors import NoAnswerError
from emostream.client.session import Kind
from emostream.model import Palette, Swarm, decode, event_path
from emostream.tokens.own import OwnTokens
from emostream_lab.account.account import RunAccount
from emostream_lab.load.http import Endpoint
from emostream_lab.load.options import Options
from emostream_lab.load.record import Record
from emostream_lab.load.report import DELIVERY, END_TO_END, once_all_have_come
from emostream_lab.load.run import Part, Run, now_seconds
from emostream_lab.load.sender import Portion, Sender
from emostream_lab.load.verdict import Report
from emostream_lab.load.viewer import OnSwarm, Viewer

# Messages between the processes of a run.
FINISH = "emostream-finish"
REPORT = "emostream-report"

# Once sending stops, accepted reactions have this long to reach the viewers.
FINISH_SECONDS = 90.0
# A swarm is timed when all viewers have it, or after this long.
_ARRIVAL_SECONDS = 10.0
_TRACE_ATTEMPTS = 10
_TRACES_KEPT = 64
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 1.0


class _Trace(msgspec.Struct):
    """What a subscriber knows about one swarm.

    `window_end` is in milliseconds since the epoch. `counted` maps each partition to the offset after the last record
    that is counted.
    """

    window_end: int
    counted: dict[int, int]


class _Witness:
    """The process's own viewer of an event. It watches during the whole run."""

    def __init__(self, part: Part, registry: Endpoint, record: Record, on_swarm: OnSwarm, tokens: OwnTokens) -> None:
        self.part = part
        self.viewer = Viewer(
            "sse",
            "load-witness",
            event=part.event,
            registry=registry,
            record=record,
            on_swarm=self._take,
            tokens=tokens,
        )
        # The end of each swarm's window, for the swarms that are not timed yet.
        self.window_ends: dict[int, int] = {}
        self._on_swarm = on_swarm

    @property
    def head(self) -> int:
        """The newest swarm that the witness has seen."""
        return self.viewer.session.watcher.sequence

    @property
    def is_settled(self) -> bool:
        """Whether the viewers of the event have seen all accepted reactions."""
        return not (self.part.tally.end_to_end.waiting or self.part.tally.behind(self.head))

    def _take(self, swarm: Swarm, came_seconds: float, opened_seconds: float) -> None:
        self.window_ends[swarm.sequence] = swarm.window.end
        self._on_swarm(swarm, came_seconds, opened_seconds)


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
        run, part = self._current, next(self._parts_of_viewers)
        is_slow = self._draw.random() < run.shape.slow_share
        on_swarm = partial(self._replayed if is_slow else self._seen, part)
        name = f"load-{self._draw.randrange(1_000_000_000)}"
        viewer = Viewer(
            kind,
            name,
            event=part.event,
            registry=self._registry,
            record=self.record,
            on_swarm=on_swarm,
            tokens=self._tokens,
        )
        viewer.spectator.is_slow = is_slow
        viewer.mean_stay_seconds = run.shape.mean_stay_seconds
        part.tally.spectators.append(viewer.spectator)
        return viewer

    @property
    def _current(self) -> Run:
        if self.run is None:
            raise RuntimeError("a user was started before its run")
        return self.run

    # Handlers that Locust calls.

    def _begin(self, environment: Environment, **_: Any) -> None:
        options = Options.of(environment)
        self._tokens = OwnTokens.load()
        relay = self._tokens.kept("load-relay", "relay")
        paths = {event: f"{options.ingest_url}{event_path(event)}" for event in options.events}
        self._palettes = {event: Endpoint(f"{path}/palette") for event, path in paths.items()}
        self._ingest = {event: Endpoint(f"{path}/reactions", relay) for event, path in paths.items()}
        self._registry = Endpoint(f"{options.registry_url}/v1/assignments")
        self.record.failures = 0
        run = self.run = Run(options.audience, options.shape, now_seconds(), options.events, options.share_of_first)
        self._parts_of_viewers = run.parts_of_viewers(self._draw)
        self._traces: dict[int, _Trace] = {}
        self._tracing = BoundedSemaphore()
        self._witnesses = [
            _Witness(part, self._registry, self.record, partial(self._seen, part), self._tokens) for part in run.parts
        ]
        self._background = [gevent.spawn(keep, witness.viewer) for witness in self._witnesses]
        self._background.append(gevent.spawn(self._open, run))

    def _finish(self, **_: Any) -> None:
        """Stop sending, wait until viewers have seen all accepted reactions, and report. The wait is bounded."""
        run = self._current
        run.stop_sending()
        wait(lambda: not run.in_flight and all(each.is_settled for each in self._witnesses), FINISH_SECONDS)
        runner = self._environment.runner
        heads = {witness.part.event: witness.head for witness in self._witnesses}
        accounts = {part.event: part.tally.account(heads[part.event]) for part in run.parts}
        account = RunAccount(accounts, self.record.failures)
        report = Report(
            worker=runner.client_id, sequences=heads, account=account, clock=str(run.clock), missing=self._missing(run)
        )
        runner.send_message(REPORT, msgspec.to_builtins(report))

    def _end(self, **_: Any) -> None:
        gevent.killall(self._background, block=False)

    def _note_user_error(self, **_: Any) -> None:
        self.record.failures += 1

    # Background work beside the users.

    def _open(self, run: Run) -> None:
        """Start sending once the palettes are known and the witnesses are connected, and time the swarms."""
        for part in run.parts:
            part.palette = self._ask_palette(part.event)
        wait(lambda: not self._missing(run))
        run.begin_sending()
        self._background += [gevent.spawn(self._time_swarms, run, witness) for witness in self._witnesses]

    def _missing(self, run: Run) -> list[str]:
        """What sending still waits for."""
        palettes = [f"the palette of {part.event}" for part in run.parts if not part.palette]
        return palettes + [f"a stream of {each.part.event}" for each in self._witnesses if each.head < 0]

    def _ask_palette(self, event: str) -> Sequence[str]:
        while True:
            try:
                return decode(self._palettes[event].get().body, Palette).emoji
            except (NoAnswerError, msgspec.DecodeError) as error:
                self.record.failed("GET", "/v1/palette", str(error))
                gevent.sleep(_RETRY_SECONDS)

    def _time_swarms(self, run: Run, witness: _Witness) -> None:
        tally = witness.part.tally
        sequence = witness.head
        while True:
            sequence += 1
            wait(lambda: witness.head >= sequence)  # noqa: B023 (it is called before the next round)
            wait(lambda: not tally.behind(sequence), _ARRIVAL_SECONDS)  # noqa: B023
            trace = self._trace(witness, sequence)
            if trace is not None:
                self._time(run, witness.part, sequence, trace)

    def _time(self, run: Run, part: Part, sequence: int, trace: _Trace) -> None:
        """Record the latency of each reaction in this swarm, from its due time to the swarm's arrival at a viewer."""
        last_due = float("-inf")
        tally = part.tally
        for latency in tally.end_to_end.covered(sequence, trace.counted, self._draw.choice):
            last_due = max(last_due, latency.due_seconds)
            self.record.timed(END_TO_END, latency.latency_ms, latency.reactions)
            if latency.due_seconds >= run.seated_seconds:
                self.record.timed(once_all_have_come(run.group_of(part)), latency.latency_ms, latency.reactions)
        if arrivals := tally.end_to_end.arrivals(sequence):
            run.clock.observe(trace.window_end, last_due * 1_000, arrivals[0] * 1_000)

    def _trace(self, witness: _Witness, sequence: int) -> _Trace | None:
        """Return what is known of a swarm. The swarms of all events in one record cover the same, so one is asked for.

        Returns None after `_TRACE_ATTEMPTS` failed attempts.
        """
        window_end = witness.window_ends.pop(sequence, -1)
        with self._tracing:
            known = self._traces.get(window_end) or self._ask_trace(witness, sequence)
            if known is not None:
                self._traces[known.window_end] = known
                while len(self._traces) > _TRACES_KEPT:
                    del self._traces[next(iter(self._traces))]
            return known

    def _ask_trace(self, witness: _Witness, sequence: int) -> _Trace | None:
        """Ask the witness's subscriber about a swarm."""
        reason = "the witness has no subscriber"
        for _ in range(_TRACE_ATTEMPTS):
            if (assignment := witness.viewer.session.assignment) is not None:
                url = f"{assignment.sse_url.removesuffix('/stream')}/trace?sequence={sequence}"
                try:
                    return decode(Endpoint(url, self._tokens.kept("load-witness", "watch")).get().body, _Trace)
                except (NoAnswerError, msgspec.DecodeError) as error:
                    reason = str(error)
            gevent.sleep(_RETRY_SECONDS)
        self.record.failed("GET", "/v1/trace", reason)
        return None

    def _seen(self, part: Part, swarm: Swarm, came_seconds: float, opened_seconds: float) -> None:
        clock = self._current.clock
        window_end_ms = swarm.window.end - clock.correction_ms
        is_live = part.tally.seen(swarm, came_seconds, opened_seconds)
        self.record.timed(DELIVERY, came_seconds * 1_000 - window_end_ms if is_live else None)

    def _replayed(self, part: Part, swarm: Swarm, came_seconds: float, _: float) -> None:
        """Count a swarm that a slow viewer got. Its arrival says nothing about how long a swarm takes."""
        part.tally.seen(swarm, came_seconds, float("inf"))
        self.record.timed(DELIVERY, None)


def keep(viewer: Viewer) -> None:
    """Keep a viewer watching until it stops for good."""
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
