"""Injects faults into the processes of a supervised topology and measures how long each recovery takes."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from emostream.model import SWARMS_TOPIC
from emostream_lab.chaos.growth import family
from emostream_lab.chaos.plan import Fault, Kind, Tiers
from emostream_lab.chaos.timeline import Timeline
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.topology import Layout, Part

EXECUTOR = "spark-executor"
"""The name of Spark's executor, which Spark's worker starts, not the supervisor."""
STOP_SECONDS = 25.0
"""Longer than every time-out: sessions (6 s), transactions (10 s), writes (15 s), Spark's network (20 s)."""

_RIVAL_SECONDS = 60.0
# The next burst starts after this time even if the topology has not recovered from the current one.
_PATIENCE_SECONDS = 300.0
_RETRY_SECONDS = 1.0
_POLL_MS = 500
_KILLS = {Kind.KILL, Kind.KILL_IN_COMMIT, Kind.KILL_ALL}


def victims(parts: Sequence[Part]) -> Tiers:
    """Return the possible victims by tier: every long-running process, and the executor.

    Each process of Spark is a tier of its own.
    """
    tiers: dict[str, list[str]] = {}
    for part in parts:
        if not part.runs_once:
            tiers.setdefault(part.name if part.tier == "spark" else part.tier, []).append(part.name)
    return {**tiers, EXECUTOR: [EXECUTOR]}


@dataclass
class Injection:
    """One fault, from its injection to the recovery.

    A fault is released when its victims can come back: at once after a SIGKILL, or when SIGCONT was sent. The recovery
    is complete when the victims are ready and every topic has a swarm whose window ends after the release.
    `injected_at` and `released_at` are seconds on the clock of the run. `ready_seconds` and `flow_seconds` count from
    the release. `released_ms` is in ms since the epoch.
    """

    fault: Fault
    injected_at: float | None = None
    released_at: float | None = None
    ready_seconds: float | None = None
    flow_seconds: float | None = None
    pids: Mapping[str, int] = field(default_factory=dict)
    is_over: Callable[[], bool] = bool
    released_ms: int = 0

    @property
    def is_recovered(self) -> bool:
        return self.ready_seconds is not None and self.flow_seconds is not None


class Injector:
    """Injects the faults of a plan. The owner calls `step` several times a second, in the thread of the supervisor.

    `came_to_ms` returns the end of the newest swarm that is in every topic, in ms since the epoch.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        layout: Layout,
        parts: Sequence[Part],
        came_to_ms: Callable[[], int],
        timeline: Timeline,
    ) -> None:
        self.injections = [Injection(fault) for fault in faults]
        self._layout = layout
        self._parts = {part.name: part for part in parts if not part.runs_once}
        self._came_to_ms = came_to_ms
        self._timeline = timeline
        self._burst = 0
        self._burst_began_at = 0.0
        self._over = threading.Event()
        # The faults that wait for a commit need a thread each.
        self._triggers = ThreadPoolExecutor(len(faults), "trigger")

    def step(self) -> None:
        """Inject the faults that are due, and check those that are not over.

        Within a burst, a fault does not wait for the recovery from earlier faults. It waits only while a victim of its
        own is down or stopped.
        """
        self._begin_next_burst()
        for injection in self.injections:
            if injection.injected_at is None:
                if self._is_due(injection.fault) and self._can_inject(injection.fault):
                    self._inject(injection)
            elif injection.released_at is None:
                if injection.is_over():
                    self._release(injection)
            elif not injection.is_recovered:
                self._look(injection)

    def is_over(self) -> bool:
        """Return whether the topology recovered from the last burst, or the time for this is over."""
        return not self.injections or self._burst > self.injections[-1].fault.burst

    def has_come_to(self, burst: int, after_seconds: float) -> bool:
        """Return whether so much time has passed since the start of this burst, or the burst is over."""
        return burst < self._burst or (
            burst == self._burst and self._timeline.seconds() >= self._burst_began_at + after_seconds
        )

    def cut_short(self) -> None:
        """Drop the faults that are not injected yet."""
        self.injections = [injection for injection in self.injections if injection.injected_at is not None]

    def missing(self) -> list[str]:
        """Return the names of the processes that do not run or are not ready."""
        names = [*self._parts, *([EXECUTOR] if "spark-worker" in self._parts else [])]
        return [name for name in names if not self._is_ready(name)]

    def stop(self) -> None:
        """Stop waiting for commits, and send SIGCONT to the processes that are stopped."""
        self._over.set()
        self._triggers.shutdown()
        for injection in self.injections:
            if injection.injected_at is not None and injection.released_at is None:
                self._signal(injection.pids, signal.SIGCONT)

    def _begin_next_burst(self) -> None:
        """Begin the next burst after the recovery from the current one, or when the time for this is over."""
        burst = [injection for injection in self.injections if injection.fault.burst == self._burst]
        now = self._timeline.seconds()
        if burst and (
            all(injection.is_recovered for injection in burst) or now > self._burst_began_at + _PATIENCE_SECONDS
        ):
            self._burst += 1
            self._burst_began_at = now

    def _is_due(self, fault: Fault) -> bool:
        return fault.burst == self._burst and self.has_come_to(fault.burst, fault.after_seconds)

    def _can_inject(self, fault: Fault) -> bool:
        if fault.kind in {Kind.KILL_ALL, Kind.DELETE_CHECKPOINT, Kind.RIVAL}:
            return True
        stopped = {
            name
            for injection in self.injections
            if injection.injected_at and injection.released_at is None
            for name in injection.pids
        }
        return all(name not in stopped and self._pid(name) is not None for name in fault.victims)

    def _inject(self, injection: Injection) -> None:
        kind = injection.fault.kind
        injection.injected_at = self._timeline.seconds()
        self._timeline.note(f"{kind} {' and '.join(injection.fault.victims)}")
        if kind in {Kind.KILL_IN_COMMIT, Kind.STOP_IN_COMMIT}:
            struck = self._triggers.submit(self._strike_in_commit, injection)
            injection.is_over = lambda: struck.done() and self._is_struck(injection, struck)
        elif kind is Kind.DELETE_CHECKPOINT:
            self._delete_checkpoints()
            injection.is_over = lambda: True
        elif kind is Kind.RIVAL:
            injection.is_over = self._start_rival()
        else:
            self._strike(injection)

    def _strike(self, injection: Injection) -> None:
        """Send SIGKILL or SIGSTOP to the victims. A fault with SIGSTOP is over when SIGCONT was sent."""
        names = self._parts if injection.fault.kind is Kind.KILL_ALL else injection.fault.victims
        injection.pids = {name: pid for name in names if (pid := self._pid(name)) is not None}
        if injection.fault.kind in _KILLS:
            self._signal(injection.pids, signal.SIGKILL)
            injection.is_over = lambda: True
            return
        self._signal(injection.pids, signal.SIGSTOP)
        until = self._timeline.seconds() + STOP_SECONDS
        injection.is_over = lambda: self._wake(injection, until)

    def _wake(self, injection: Injection, until: float) -> bool:
        if self._timeline.seconds() < until:
            return False
        self._signal(injection.pids, signal.SIGCONT)
        return True

    def _strike_in_commit(self, injection: Injection) -> None:
        """Wait until a swarm is written but not committed, and send the signal at once."""
        while not self._over.is_set():
            with contextlib.suppress(KafkaError), self._uncommitted_reader() as reader:
                reader.seek_to_end()
                while not self._over.is_set():
                    if reader.poll(timeout_ms=_POLL_MS):
                        self._strike(injection)
                        return
            self._over.wait(_RETRY_SECONDS)

    def _uncommitted_reader(self) -> KafkaConsumer:
        address = f"{HOST}:{self._layout.ports.kafka}"
        reader = KafkaConsumer(bootstrap_servers=address, group_id=None, isolation_level="read_uncommitted")
        reader.assign([TopicPartition(SWARMS_TOPIC, 0)])
        return reader

    def _is_struck(self, injection: Injection, struck: "Future[None]") -> bool:
        struck.result()
        # `_strike` has replaced `is_over`.
        return injection.is_over()

    def _delete_checkpoints(self) -> None:
        for directory in self._layout.directory.glob("aggregator*/checkpoints"):
            shutil.rmtree(directory, ignore_errors=True)

    def _start_rival(self) -> Callable[[], bool]:
        rival = topology.aggregator_beside(self._layout, "aggregator-rival", {"EMOSTREAM_ZOOKEEPER_ROOT": "/rival"})
        rival.process.start()
        until = self._timeline.seconds() + _RIVAL_SECONDS

        def is_over() -> bool:
            if rival.process.is_running() and self._timeline.seconds() < until:
                return False
            rival.process.stop(timeout_seconds=0)
            return True

        return is_over

    def _release(self, injection: Injection) -> None:
        injection.released_at = self._timeline.seconds()
        injection.released_ms = int(time.time() * 1000)

    def _look(self, injection: Injection) -> None:
        assert injection.released_at is not None  # noqa: S101
        seconds = self._timeline.seconds() - injection.released_at
        if injection.ready_seconds is None and all(self._is_back(name, injection) for name in injection.pids):
            injection.ready_seconds = seconds
        if injection.flow_seconds is None and self._came_to_ms() > injection.released_ms:
            injection.flow_seconds = seconds
        if injection.is_recovered:
            self._timeline.note(f"recovered from: {injection.fault.kind} {' and '.join(injection.fault.victims)}")

    def _is_back(self, name: str, injection: Injection) -> bool:
        was_killed = injection.fault.kind in _KILLS and self._pid(name) == injection.pids[name]
        return not was_killed and self._is_ready(name)

    def _is_ready(self, name: str) -> bool:
        return self._pid(name) is not None if name == EXECUTOR else self._parts[name].process.is_ready()

    def _pid(self, name: str) -> int | None:
        if name == EXECUTOR:
            return next(self._executors(), None)
        process = self._parts[name].process
        return process.pid if process.is_running() else None

    def _executors(self) -> Iterator[int]:
        worker = self._parts["spark-worker"].process
        for process in family(worker.pid) if worker.is_running() else ():
            # A zombie has no command line.
            with contextlib.suppress(psutil.NoSuchProcess):
                if any("ExecutorBackend" in word for word in process.cmdline()):
                    yield process.pid

    def _signal(self, pids: Mapping[str, int], number: signal.Signals) -> None:
        for name, pid in pids.items():
            with contextlib.suppress(ProcessLookupError):
                # Signal the children of a driver or a worker too, as systemd does.
                send = os.kill if name == EXECUTOR else os.killpg
                send(pid, number)
