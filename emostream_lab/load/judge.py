"""The judge of a run: it checks that nobody else sends reactions before the run, and judges the result after it.

It runs in the Locust master, which has no users, or in the only process if there are no workers.
"""

from collections import Counter
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_INIT, MasterRunner

from emostream.client.errors import NoAnswerError
from emostream.errors import EmoStreamError
from emostream.model import MAIN, Swarm, event_path
from emostream.tokens.own import OwnTokens
from emostream_lab.account.account import Account, RunAccount
from emostream_lab.audience.shapes import SHAPES
from emostream_lab.load.generator import FINISH, FINISH_SECONDS, REPORT, keep, report_of, wait
from emostream_lab.load.http import Endpoint
from emostream_lab.load.options import Options
from emostream_lab.load.record import Record
from emostream_lab.load.run import now_seconds
from emostream_lab.load.verdict import Report, Verdict, judge
from emostream_lab.load.viewer import Viewer

_CONNECT_SECONDS = 15.0
# Nobody else may send during a run, because their reactions would look doubled. Reactions of a crowd of any size show
# within the time between two swarms, which is 2 s by default.
_QUIET_SECONDS = 3.0
_QUIET_TIMEOUT_SECONDS = 30.0
# The workers' last figures arrive with their next report.
_STATISTICS_SECONDS = 1.5


class Phase(StrEnum):
    """The phase of a run."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    DRAINING = "draining"
    ENDED = "ended"


class _Observer:
    """The judge's own viewer of an event, which sees what the pipeline counts."""

    def __init__(self, event: str, registry_url: str, record: Record) -> None:
        self.event = event
        registry = Endpoint(f"{registry_url}/v1/assignments")
        viewer = Viewer(
            "sse",
            "load-judge",
            event=event,
            registry=registry,
            record=record,
            on_swarm=self._take,
            tokens=OwnTokens.load(),
        )
        self._watcher = viewer.session.watcher
        self._totals_before: Counter[str] = Counter()
        self._by_swarms: Counter[str] = Counter()
        self._watching = gevent.spawn(keep, viewer)

    @property
    def is_watching(self) -> bool:
        return self._watcher.stream is not None

    @property
    def sequence(self) -> int:
        return self._watcher.sequence

    def begin(self) -> None:
        """Start counting now."""
        self._totals_before = Counter(self._watcher.totals)
        self._by_swarms.clear()

    def counted(self) -> Account:
        """Return what was counted since `begin`."""
        by_totals = Counter(self._watcher.totals) - self._totals_before
        return Account(by_totals=dict(by_totals), by_swarms=dict(self._by_swarms))

    def stop(self) -> None:
        self._watching.kill(block=False)

    def _take(self, swarm: Swarm, *_: float) -> None:
        self._by_swarms.update(swarm.counts)


class Judge:
    """Prepares and judges runs. Locust's events and the workers' messages call its methods.

    `verdict` is the verdict on the last run.
    """

    def __init__(self, environment: Environment) -> None:
        self.phase = Phase.IDLE
        self.runs = 0
        """Runs that have begun, including this one. An outside observer tells by it which run a verdict is for."""
        self.verdict: Verdict | None = None
        self.reports: list[Report] = []
        self.started_seconds = 0.0
        self._environment = environment
        self._record = Record(environment)
        self._observers: list[_Observer] = []
        self._workers: set[str] = set()
        environment.events.test_start.add_listener(self._begin)
        environment.events.test_stopping.add_listener(self._finish)
        environment.runner.register_message(REPORT, self._take_report)

    def tick(self, crowd_users: int) -> tuple[int, float] | None:
        """Return what a Locust shape returns each second: (users, users to add per second), or None to stop.

        `crowd_users` is the number of users that send. The rest are viewers.
        """
        options = Options.of(self._environment)
        if self._environment.runner.state == STATE_INIT and not self._prepare(options):
            return None
        if self.phase is Phase.RUNNING and now_seconds() >= self.started_seconds + options.audience.seconds:
            return None
        joins_per_second = SHAPES[options.shape].joins_per_second(options.audience)
        return crowd_users + options.audience.viewers, joins_per_second

    def _prepare(self, options: Options) -> bool:
        """Return whether the pipeline answers and nobody sends. If not, the verdict says what to change."""
        self.phase = Phase.PREPARING
        self.runs += 1
        self.verdict = None
        self.reports = []
        try:
            problem = _unreachable(options) or self._observe(options)
        except EmoStreamError as error:
            # One of the events has no id that an event can have.
            problem = str(error)
        if problem:
            self._conclude(Verdict("no run", [problem]))
        return not problem

    def _observe(self, options: Options) -> str:
        """Wait until nothing more is counted, then start counting. Returns the obstacle, or an empty string."""
        self._stop_observing()
        observers = [_Observer(event, options.registry_url, self._record) for event in options.events]
        self._observers = observers
        wait(lambda: all(each.is_watching for each in observers), _CONNECT_SECONDS)
        if missing := [each.event for each in observers if not each.is_watching]:
            events = "" if missing == [MAIN] else f" of {', '.join(missing)}"
            where = f"no subscriber of {options.registry_url} sent a snapshot{events}"
            return f"{where} in {_CONNECT_SECONDS:g} s; are any ready?"
        deadline = now_seconds() + _QUIET_TIMEOUT_SECONDS
        while now_seconds() < deadline:
            sequences = [each.sequence for each in observers]
            gevent.sleep(_QUIET_SECONDS)
            if [each.sequence for each in observers] == sequences:
                for each in observers:
                    each.begin()
                return ""
        return "somebody else is sending reactions, so that nothing could be said of ours: stop them first."

    def _stop_observing(self) -> None:
        for each in self._observers:
            each.stop()

    # Handlers that Locust calls.

    def _begin(self, **_: Any) -> None:
        self.started_seconds = now_seconds()
        self.phase = Phase.RUNNING
        self._record.failures = 0
        self._workers = set(self._live_workers())

    def _take_report(self, msg: Any, **_: Any) -> None:
        self.reports.append(report_of(msg.data))

    def _finish(self, **_: Any) -> None:
        if self.phase is not Phase.RUNNING:
            return
        self.phase = Phase.DRAINING
        self._environment.runner.send_message(FINISH)
        wait(lambda: not self._awaited(), FINISH_SECONDS + 10)
        wait(lambda: all(map(self._has_seen_all, self._observers)), _CONNECT_SECONDS)
        gevent.sleep(_STATISTICS_SECONDS)
        lost = sorted(self._workers - {report.worker for report in self.reports})
        counted = RunAccount({each.event: each.counted() for each in self._observers}, self._record.failures)
        self._conclude(judge(self.reports, counted, lost))
        self._stop_observing()

    def _has_seen_all(self, observer: _Observer) -> bool:
        return all(observer.sequence >= report.sequences[observer.event] for report in self.reports)

    # The workers. A single process counts as its own worker.

    def _live_workers(self) -> list[str]:
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner):
            return [runner.client_id]
        return [worker.id for worker in (*runner.clients.ready, *runner.clients.spawning, *runner.clients.running)]

    def _awaited(self) -> set[str]:
        return self._workers.intersection(self._live_workers()) - {report.worker for report in self.reports}

    def _conclude(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.phase = Phase.ENDED
        self._environment.process_exit_code = 0 if verdict.is_good else 1
        details = [*verdict.events, *verdict.problems]
        print("", verdict.line, *(f"  {detail}" for detail in details), sep="\n", flush=True)


def _unreachable(options: Options) -> str:
    palettes = [f"{options.ingest_url}{event_path(event)}/palette" for event in options.events]
    for url in (*palettes, f"{options.registry_url}/v1/topology"):
        try:
            response = Endpoint(url).get()
        except NoAnswerError as error:
            return f"{url} does not answer ({error}); is the pipeline running, and is the address right?"
        if response.status != HTTPStatus.OK:
            return f"{url} answers {response.status} ({response.reason}); is the pipeline ready?"
    return ""
