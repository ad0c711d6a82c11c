"""Seeded faults against a running demo: what to break when is decided before the start, from the seed alone."""

import contextlib
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import psutil

from emostream.errors import EmoStreamError
from emostream.local import breaker, demo, figures
from emostream.local.topology import Layout, Part, parts

EXECUTOR = "spark-executor"
# Longer than the session in ZooKeeper and the transaction time-out, so that whoever wakes up was replaced.
STOP_SECONDS = 13.0
_BETWEEN_SECONDS = (6.0, 14.0)
_LAST_RECOVERY_SECONDS = 60
_LOOK_SECONDS = 0.2
_FIRST_SWARM_SECONDS = 180
_REACTIONS_PER_SECOND = 200
_VIEWERS = 40


@dataclass(frozen=True)
class Fault:
    """At so many seconds, these processes get SIGKILL, or SIGSTOP and after STOP_SECONDS SIGCONT."""

    at_seconds: float
    kind: str
    victims: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.at_seconds:6.1f} s  {self.kind:<5} {' and '.join(self.victims)}"


def schedule(seed: int, count: int, names: Sequence[str]) -> list[Fault]:
    """The faults of a run. Each process is a victim before any is one again; one fault in six hits two at once."""
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    faults: list[Fault] = []
    waiting: list[str] = []
    at_seconds = 0.0
    for _ in range(count):
        wanted = 2 if chance.random() < 1 / 6 else 1
        if len(waiting) < wanted:
            waiting += chance.sample(list(names), len(names))
        victims = dict.fromkeys(waiting.pop() for _ in range(wanted))
        faults.append(Fault(round(at_seconds, 1), chance.choice(("kill", "stop")), tuple(victims)))
        at_seconds += chance.uniform(*_BETWEEN_SECONDS)
    return faults


@dataclass
class Course:
    """How one fault went. It is over once its victims are ready and two more swarms were counted."""

    fault: Fault
    pids: dict[str, int] = field(default_factory=dict)
    released_at: float | None = None
    swarms_at_release: int = 0
    recovered_seconds: float | None = None


class Injector(threading.Thread):
    """Carries the schedule out beside a demo, which restarts what dies. `courses` tells how each fault went."""

    def __init__(self, faults: Sequence[Fault], layout: Layout, tell: Callable[[str], None]) -> None:
        super().__init__(name="faults")
        self.courses = [Course(fault) for fault in faults]
        self._layout = layout
        self._tell = tell
        self._over = threading.Event()

    def stop(self) -> None:
        """Inject nothing more; what is stopped now is left to the end of the demo, which kills it."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Inject each fault at its time, however far the recovery from the one before has come."""
        if not self._wait_for_swarms():
            return
        began = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS) and any(each.recovered_seconds is None for each in self.courses):
            for course in self.courses:
                if not course.pids and time.monotonic() - began >= course.fault.at_seconds:
                    self._inject(course)
                elif course.pids and course.released_at is not None and course.recovered_seconds is None:
                    self._look(course)

    def _wait_for_swarms(self) -> bool:
        deadline = time.monotonic() + _FIRST_SWARM_SECONDS
        while self._swarms() < 2 and time.monotonic() < deadline:
            if self._over.wait(_LOOK_SECONDS):
                return False
        return True

    def _inject(self, course: Course) -> None:
        pids = {name: self._pid(name) for name in course.fault.victims}
        running = {name: pid for name, pid in pids.items() if pid is not None}
        # A victim that is down already is hit as soon as it is up again.
        if len(running) < len(pids):
            return
        course.pids = running
        self._tell(str(course.fault))
        if course.fault.kind == "kill":
            self._signal(course, signal.SIGKILL)
            self._release(course)
        else:
            self._signal(course, signal.SIGSTOP)
            timer = threading.Timer(STOP_SECONDS, self._wake, [course])
            timer.daemon = True
            timer.start()

    def _wake(self, course: Course) -> None:
        self._signal(course, signal.SIGCONT)
        self._release(course)

    def _release(self, course: Course) -> None:
        course.swarms_at_release = self._swarms()
        course.released_at = time.monotonic()

    def _look(self, course: Course) -> None:
        assert course.released_at is not None  # noqa: S101
        if self._swarms() >= course.swarms_at_release + 2 and all(map(self._is_ready, course.fault.victims)):
            course.recovered_seconds = time.monotonic() - course.released_at

    def _signal(self, course: Course, number: signal.Signals) -> None:
        for name, pid in course.pids.items():
            with contextlib.suppress(ProcessLookupError):
                # A driver and a worker have children, which are hit with them, as systemd does it.
                (os.kill if name == EXECUTOR else os.killpg)(pid, number)

    def _pid(self, name: str) -> int | None:
        if name == EXECUTOR:
            return next(iter(self._executors()), None)
        row = self._rows().get(name)
        return row.pid if row is not None and row.is_ready else None

    def _is_ready(self, name: str) -> bool:
        return self._pid(name) is not None

    def _executors(self) -> list[int]:
        worker = self._rows().get("spark-worker")
        if worker is None or worker.pid is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(worker.pid).children(recursive=True)
            return [child.pid for child in children if any("ExecutorBackend" in word for word in child.cmdline())]
        return []

    def _rows(self) -> dict[str, breaker.Row]:
        try:
            return {row.name: row for row in breaker.read_rows(self._layout.directory / "topology.json")}
        except EmoStreamError:
            # The demo has ended.
            return {}

    def _swarms(self) -> int:
        newest = figures.read(self._layout.directory / "crowd.json")
        return newest.swarms if newest is not None else 0


class Line(msgspec.Struct, frozen=True):
    """A line of the report: a kind of fault on a tier."""

    fault: str
    tried: int
    recovered: int
    p50_seconds: float | None
    max_seconds: float | None


def report(courses: Sequence[Course], tiers: dict[str, str]) -> list[Line]:
    """How long recovery took, by kind of fault and tier. Two victims at once are a kind of their own."""
    found: dict[str, list[Course]] = {}
    for course in courses:
        victims = course.fault.victims
        what = tiers.get(victims[0], victims[0]) if len(victims) == 1 else "two at once"
        found.setdefault(f"{course.fault.kind} {what}", []).append(course)
    return [_line(name, found[name]) for name in sorted(found)]


def _line(name: str, courses: Sequence[Course]) -> Line:
    seconds = [course.recovered_seconds for course in courses if course.recovered_seconds is not None]
    return Line(
        name,
        len(courses),
        len(seconds),
        round(statistics.median(seconds), 1) if seconds else None,
        round(max(seconds), 1) if seconds else None,
    )


def table(lines: Sequence[Line]) -> str:
    """The report for a person."""
    head = f"  {'fault':<24}{'tried':>6}{'recovered':>11}{'p50 s':>8}{'max s':>8}"
    rows = [
        f"  {line.fault:<24}{line.tried:>6}{line.recovered:>11}{line.p50_seconds or '–':>8}{line.max_seconds or '–':>8}"
        for line in lines
    ]
    return "\n".join([head, *rows])


def run(seed: int, count: int, layout: Layout, tell: Callable[[str], None]) -> int:
    """Break a demo of its own `count` times; returns 0 if nothing was lost or doubled and all came back.

    Raises EmoStreamError as the demo does.
    """
    available = parts(layout)
    faults = schedule(seed, count, victims(available))
    tell(f"SEED={seed} FAULTS={count}:\n" + "\n".join(map(str, faults)))
    injector = Injector(faults, layout, tell)
    seconds = int(faults[-1].at_seconds + STOP_SECONDS) + _LAST_RECOVERY_SECONDS
    injector.start()
    try:
        status = demo.run(demo.Wishes(seconds, _REACTIONS_PER_SECOND, _VIEWERS), layout)
    finally:
        injector.stop()
    lines = report(injector.courses, {part.name: part.tier for part in available})
    (layout.directory / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(lines)))
    tell(table(lines))
    missing = [str(course.fault) for course in injector.courses if course.recovered_seconds is None]
    if missing:
        tell(f"NOT RECOVERED, or never injected, with SEED={seed}:\n" + "\n".join(missing))
    return status or int(bool(missing))


def victims(available: Sequence[Part]) -> list[str]:
    """What there is to break: every process that stays, and the executor, which Spark's worker starts."""
    names = [part.name for part in available if not part.runs_once]
    return [*names, EXECUTOR] if "spark-worker" in names else names
