"""Measures how soon the demo's processes start and come back, with class archives and without them.

The archives hold the classes of Kafka, ZooKeeper and Spark (`emostream_lab.machine.class_archives`).
"""

import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from emostream.errors import EmoStreamError
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.servers import Tell
from emostream_lab.machine import class_archives
from emostream_lab.processes import topology
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part, Ports

_PART = "start"
# The share of the time without archives that may be left.
_MOST = {"start of all": 0.65, "aggregator killed": 0.6, "all killed at once": 0.7}
_ROUNDS = 3
_DEATH_SECONDS = 10


@dataclass(frozen=True)
class _Running:
    """The demo's processes, and the one who starts them again."""

    parts: list[Part]
    supervisor: Supervisor

    def seconds_until_ready(self) -> float:
        began = time.monotonic()
        self.supervisor.run_until(self.supervisor.all_ready)
        return time.monotonic() - began

    def seconds_until_back(self, tier: str = "") -> float:
        """Kill the processes of a tier, or all, and return how long it takes until they are ready again."""
        victims = [part.process for part in self.parts if tier in ("", part.tier) and not part.runs_once]
        for process in victims:
            process.send_signal(signal.SIGKILL)
        for process in victims:
            process.wait(_DEATH_SECONDS)
        # It sees that they are dead.
        self.supervisor.step()
        return self.seconds_until_ready()


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure with and without archives in turn. A quick run does so once, and judges nothing."""
    if not class_archives.are_complete():
        raise EmoStreamError("the class archives are missing: `make demo` makes them.")
    seconds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for number in range(1 if quick else _ROUNDS):
        for has_archives, times_of_rounds in seconds.items():
            what = "with" if has_archives else "without"
            tell(f"round {number + 1}, {what} class archives")
            with _running(directory / f"{number}-{what}", has_archives=has_archives) as running:
                times = {
                    "start of all": running.seconds_until_ready(),
                    "aggregator killed": running.seconds_until_back("aggregator"),
                    "all killed at once": running.seconds_until_back(),
                }
            tell(", ".join(f"{name} {value:.1f} s" for name, value in times.items()))
            times_of_rounds.append(times)
    figures = [figure(what, seconds) for what in _MOST]
    return Findings(figures=[figure.unjudged() for figure in figures] if quick else figures)


@contextmanager
def _running(directory: Path, *, has_archives: bool) -> Iterator[_Running]:
    """The demo's processes at their defaults, with ports of their own. They are not ready yet."""
    directory.mkdir(parents=True)
    archives = class_archives.ARCHIVES if has_archives else directory / "no-archives"
    settings = {} if has_archives else {"EMOSTREAM_AGGREGATOR_CLASS_ARCHIVE": ""}
    ports = Ports.free(clusters=3, subscribers_per_cluster=3)
    with mock.patch.object(class_archives, "ARCHIVES", archives):
        parts = topology.parts(Layout(directory, ports, settings=settings))
    supervisor = Supervisor(parts, directory / "topology.json", lambda _: None)
    try:
        yield _Running(parts, supervisor)
    finally:
        supervisor.stop()


def figure(what: str, seconds: dict[bool, list[dict[str, float]]]) -> Figure:
    """Compare the medians of one of the times. `seconds` has those of each round, by whether there were archives."""
    with_archives, without = (statistics.median(times[what] for times in seconds[has]) for has in (True, False))
    return Figure(
        part=_PART,
        name=f"{what}: time until ready, by that without class archives",
        value=with_archives / without,
        unit="×",
        note=f"{with_archives:.1f} s of {without:.1f} s",
        at_most=_MOST[what],
    )
