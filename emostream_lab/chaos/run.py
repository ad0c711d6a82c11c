"""Runs a chaos test: starts a topology and a crowd, injects faults, and accounts for every reaction."""

import functools
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from emostream.errors import EmoStreamError
from emostream.model import MAIN
from emostream.swarms.rules import progress_of
from emostream_lab import demo
from emostream_lab.account import figures
from emostream_lab.account.figures import Figures
from emostream_lab.account.moves import Move
from emostream_lab.audience import events
from emostream_lab.chaos import report
from emostream_lab.chaos.growth import Growth
from emostream_lab.chaos.injector import Injector, victims
from emostream_lab.chaos.plan import BURSTS, OPEN_AT_FIRST, Fault, Step, event_steps, schedule
from emostream_lab.chaos.steps import Steps, change
from emostream_lab.chaos.timeline import Timeline
from emostream_lab.chaos.watch import Junk, Watch
from emostream_lab.display import Display
from emostream_lab.processes import topology
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part, Ports

_CROWD = demo.DemoOptions(reactions_per_second=100, viewers=40)
# The limit for each of these: the first swarms, the recovery after the last fault, and reading the topics to the end.
_PATIENCE_SECONDS = 180
_LOOK_SECONDS = 5.0
_STEP_SECONDS = 0.1


def layout_in(directory: Path) -> Layout:
    """Return a topology on free ports: two clusters of two subscribers each, and all standbys."""
    ports = Ports.free(clusters=2, subscribers_per_cluster=2)
    return Layout(directory, ports, has_standbys=True)


def run(seed: int, count: int, layout: Layout, most_in_burst: int = max(BURSTS)) -> int:
    """Inject `count` faults into a new topology.

    Returns 0 if no reaction was lost or doubled and every process recovered, else 1. Writes the report to
    `report.json` in the folder of the layout. Raises EmoStreamError if the run cannot be carried out.
    """
    parts = topology.parts(layout)
    return run_faults(schedule(seed, count, victims(parts), most_in_burst), layout, parts, seed)


def run_faults(faults: Sequence[Fault], layout: Layout, parts: Sequence[Part], seed: int) -> int:
    """Inject the given faults, like `run`. `seed` decides which events are opened and closed meanwhile.

    SIGINT or SIGTERM stops the injection early. The account is still made, but the run counts as failed.
    """
    with demo.exclusive_use(layout.directory), demo.stop_signals() as signals:
        tell = Display(on_reader_gone=signals.stop).tell
        steps = event_steps(seed, faults)
        planned: list[Fault | Step] = [*faults, *steps]
        plan = sorted(planned, key=lambda each: (each.burst, each.after_seconds))
        tell(f"SEED={seed} FAULTS={len(faults)}:\n" + "\n".join(map(str, plan)))
        shutil.rmtree(layout.directory, ignore_errors=True)
        layout.directory.mkdir(parents=True)
        timeline = Timeline(tell)
        supervisor = Supervisor(parts, layout.directory / "topology.json", timeline.note)
        try:
            supervisor.run_until(lambda: supervisor.all_ready() or signals.received)
            if signals.received:
                return 1
            zookeeper, kafka = topology.operator_settings(layout)
            supervisor.run_beside(lambda: events.open_all(zookeeper, kafka, OPEN_AT_FIRST), lambda: signals.received)
            if signals.received:
                return 1
            whole = _Run(
                faults,
                steps,
                layout,
                parts,
                supervisor=supervisor,
                timeline=timeline,
                is_told_to_stop=lambda: signals.received,
            )
            found = whole.run(seed)
        finally:
            supervisor.stop()
    (layout.directory / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    tell(f"\n{report.table(found.lines)}\n\n{report.recovery_table(found.recoveries)}\n")
    if found.crowd is not None:
        tell(f"{figures.summary(found.crowd)}\n")
    undisturbed = found.seconds * 1000 // layout.trigger_ms
    tell(f"{found.swarms} swarms came in {found.seconds} s of faults; undisturbed it would have been {undisturbed}.")
    if found.problems:
        tell(f"\nFAILED, with SEED={seed} FAULTS={len(faults)}:\n" + "\n".join(found.problems))
        return 1
    tell("\nEvery accepted reaction was counted exactly once and seen by every viewer, and every process came back.")
    return 0


class _Run:
    """The part of a run during which the topology is up."""

    def __init__(  # noqa: PLR0913 - each has a name at the call
        self,
        faults: Sequence[Fault],
        steps: Sequence[Step],
        layout: Layout,
        parts: Sequence[Part],
        *,
        supervisor: Supervisor,
        timeline: Timeline,
        is_told_to_stop: Callable[[], bool],
    ) -> None:
        zookeeper, kafka = topology.operator_settings(layout)
        self._supervisor = supervisor
        self._is_told_to_stop = is_told_to_stop
        self._timeline = timeline
        self._growth = Growth(parts, layout.directory)
        self._looked_at = 0.0
        self._watch = Watch(kafka, layout.clusters, timeline.seconds)
        self._junk = Junk(kafka)
        trail = self._watch.trail
        self._injector = Injector(faults, layout, parts, lambda: trail.came_to_ms, timeline)
        self._tiers = victims(parts)
        self._faults = faults
        self._figures_file = layout.directory / "crowd.json"
        self._steps = Steps(steps, functools.partial(change, zookeeper, kafka), timeline)
        self._events = [MAIN, *OPEN_AT_FIRST, *(step.event for step in steps if step.verb == "open")]
        self._crowd = demo.crowd(_CROWD, layout, self._figures_file, self._events)

    def run(self, seed: int) -> report.Report:
        """Inject the faults and return the report. Raises EmoStreamError if no swarm comes or the crowd never ends."""
        self._crowd.start()
        try:
            self._step_until(self._flows, _PATIENCE_SECONDS, "no swarm came")
            self._timeline.restart()
            first = self._watch.trail.newest.sequence
            self._break()
            missing = self._wait_for_all()
            undone = self._steps.problems()
            seconds, swarms = int(self._timeline.seconds()), self._watch.trail.newest.sequence - first
            self._junk.stop()
            self._crowd.send_signal(signal.SIGINT)
            self._step_until(lambda: not self._crowd.is_running(), 2 * _PATIENCE_SECONDS, "the crowd does not end")
            ends = self._watch.ends()
            self._step_until(
                lambda: self._watch.has_read(ends), _PATIENCE_SECONDS, "the topics were not read to the end"
            )
        finally:
            self._junk.stop()
            self._steps.stop()
            self._injector.stop()
            self._crowd.stop()
            self._watch.stop()
        account = figures.read(self._figures_file)
        crowd = account if account is not None and account.is_final else None
        problems = [*self._unrecovered(), *missing, *undone, *self._wrong_counts(crowd), *self._wrong_letters()]
        injections, trail = self._injector.injections, self._watch.trail
        return report.Report(
            seed=seed,
            faults=len(self._faults),
            seconds=seconds,
            swarms=swarms,
            problems=[*problems, *self._growth.problems()],
            crowd=crowd,
            recoveries=report.recoveries(injections, self._moves(crowd), self._tiers),
            lines=report.lines(injections, trail.wrongs, self._tiers),
            repeats=trail.repeats,
            dead_letters=trail.dead_letters.total(),
            most_held=self._growth.most,
            timeline=self._timeline.entries,
        )

    def _flows(self) -> bool:
        newest = figures.read(self._figures_file)
        # The viewers of the events that are opened later are not there yet.
        return newest is not None and newest.swarms >= 2 and newest.viewers >= _CROWD.viewers // len(self._events)

    def _break(self) -> None:
        """Inject all faults, and wait for the recoveries up to the limit of the injector."""
        while not self._injector.is_over():
            if self._is_told_to_stop():
                self._injector.cut_short()
                self._steps.cut_short()
            self._inject()
            self._step()

    def _wait_for_all(self) -> list[str]:
        deadline = self._timeline.seconds() + _PATIENCE_SECONDS
        while (missing := self._injector.missing()) or not self._steps.is_over():
            if self._timeline.seconds() > deadline:
                break
            # Record late recoveries too.
            self._inject()
            self._step()
        return [f"{name} is not back" for name in missing]

    def _inject(self) -> None:
        self._injector.step()
        self._steps.step(lambda step: self._injector.has_come_to(step.burst, step.after_seconds))

    def _step_until(self, condition: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise EmoStreamError(f"{failure} in {seconds:g} s")
            self._step()

    def _step(self) -> None:
        self._supervisor.step()
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._growth.look()
        time.sleep(_STEP_SECONDS)

    def _unrecovered(self) -> list[str]:
        injections = self._injector.injections
        found = [f"not recovered from, or never injected: {each.fault}" for each in injections if not each.is_recovered]
        if len(injections) < len(self._faults):
            found.append(f"stopped after {len(injections)} faults of {len(self._faults)}")
        return found

    def _moves(self, crowd: Figures | None) -> list[Move]:
        """Return the moves of the viewers, with times on the clock of the run."""
        return [
            msgspec.structs.replace(move, lost_at_seconds=self._timeline.at(move.lost_at_seconds))
            for move in (crowd.moves if crowd is not None else [])
        ]

    def _wrong_counts(self, crowd: Figures | None) -> list[str]:
        wrongs = [f"the first wrong record: {wrong}" for wrong in self._watch.trail.wrongs[:1]]
        if crowd is None:
            return [*wrongs, f"the crowd ended with status {self._crowd.exit_status}:\n{self._crowd.log_tail()}"]
        return wrongs if crowd.is_exact else [*wrongs, "the account of the crowd is not exact: see above"]

    def _wrong_letters(self) -> list[str]:
        trail, put, unknown = self._watch.trail, Counter(self._junk.put), Counter(self._junk.unknown)
        lost, surplus = put - trail.dead_letters, trail.dead_letters - put - unknown
        counted = progress_of(trail.newest).dead_letters
        return [
            *([f"bad records that are no dead letters: {sorted(lost)}"] if lost else []),
            *([f"dead letters too many: {sorted(surplus)}"] if surplus else []),
            *(
                ["the last swarm counts other dead letters than there are"]
                if counted != trail.dead_letters.total()
                else []
            ),
        ]
