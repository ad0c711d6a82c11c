"""Measures how fair and fast many events are in one deployment: latencies by those of fewer events, in one run.

Locust puts the same audience on a whole topology several times. A run that is not exact in each event fails the
benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from emostream.errors import EmoStreamError
from emostream.model import MAIN
from emostream_lab.audience import events
from emostream_lab.bench import fanout, hops, servers
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.load import command
from emostream_lab.load.command import LoadOptions
from emostream_lab.load.report import QUANTILES, once_all_have_come
from emostream_lab.processes import topology
from emostream_lab.processes.process import Process

OPEN, ACTIVE, SMALL = 1_000, 200, 100
REACTIONS_PER_SECOND = 2_000
VIEWERS_OF_ACTIVE = 10
VIEWERS_OF_LARGE = 5_000
SHARE_OF_LARGE = 0.9
WORKERS = 2
# Locust itself watches each event: once in each worker, and once in the judge.
_OBSERVERS = WORKERS + 1
_SECONDS, _WARM_UP_SECONDS = 36, 16
_TIMEOUT_SECONDS = 150
_SETTINGS = {"EMOSTREAM_SUBSCRIBER_CAPACITY": str(fanout.CAPACITY)}
_OF_ALL, _OF_LARGE, _OF_SMALL = (" ".join(once_all_have_come(group)) for group in ("", MAIN, "the other events"))
_PART = "events"


@dataclass(frozen=True)
class _Run:
    """A run of Locust: its latencies by the name of their entry, and the share of the machine's cores that was busy."""

    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    busy: float


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure many small events beside one, and small events beside a large one. A quick run leaves this out."""
    if quick:
        tell("left out of a quick run")
        return Findings()
    names = events.names("bench", OPEN)
    small = names[1 : SMALL + 1]
    viewers_in_all = round(VIEWERS_OF_LARGE / SHARE_OF_LARGE)
    with servers.running_tiers(directory, hops.TIERS, tell, _SETTINGS) as tiers:
        bench = _Bench(tiers, directory, tell)
        bench.run("warm-up", names[:1], 500, REACTIONS_PER_SECOND, seconds=_WARM_UP_SECONDS)
        seats = ACTIVE * VIEWERS_OF_ACTIVE
        one = bench.run("one event", names[:1], seats - _OBSERVERS)
        bench.open(names[: SMALL + 1])
        beside_none = bench.run(
            "small events alone",
            small,
            round(viewers_in_all * (1 - SHARE_OF_LARGE)),
            round(REACTIONS_PER_SECOND * (1 - SHARE_OF_LARGE)),
        )
        beside_large = bench.run(
            "small events beside a large one", names[: SMALL + 1], viewers_in_all, share=SHARE_OF_LARGE
        )
        bench.open(names)
        many = bench.run("many events", names[:ACTIVE], seats - ACTIVE * _OBSERVERS)
    return Findings(figures=[*_many_figures(one, many), *_fair_figures(beside_none, beside_large)])


class _Bench:
    def __init__(self, tiers: RunningTiers, directory: Path, tell: Tell) -> None:
        self._tiers = tiers
        self._directory = directory
        self._tell = tell

    def open(self, names: Sequence[str]) -> None:
        self._tell(f"{len(names):,} events are opened")
        events.open_all(*topology.operator_settings(self._tiers.layout), names)

    def run(
        self,
        name: str,
        attended: Sequence[str],
        viewers: int,
        reactions: int = REACTIONS_PER_SECOND,
        *,
        share: float | None = None,
        seconds: int = _SECONDS,
    ) -> _Run:
        """Put an audience on these events. Raises EmoStreamError if the run is not exact."""
        self._tell(f"{name}: {viewers:,} viewers and {reactions:,} reactions a second, {len(attended):,} events")
        options = LoadOptions("steady", viewers, reactions, seconds, WORKERS, share=share)
        results = self._directory / name.replace(" ", "-")
        locust = Process(
            name,
            [*command.locust(options, attended), "--results", str(results)],
            log_file=results.with_suffix(".log"),
            environment=topology.environment(self._tiers.layout),
        )
        psutil.cpu_percent()
        locust.start()
        try:
            status = locust.wait(_TIMEOUT_SECONDS)
        finally:
            locust.stop()
        busy = psutil.cpu_percent() / 100
        if status != 0:
            raise EmoStreamError(f"the run of {name} was not exact, or did not end:\n{locust.log_tail()}")
        [file] = results.glob("*/run.json")
        return _read(msgspec.json.decode(file.read_bytes()), busy)


def _read(run: Any, busy: float) -> _Run:
    """Read the report of a run of Locust."""
    found = {each["name"]: dict(zip(QUANTILES, each["percentiles"], strict=True)) for each in run["latencies"]}
    p50, p99 = ({name: each[part] for name, each in found.items()} for part in (0.5, 0.99))
    return _Run(p50, p99, busy)


def _many_figures(one: _Run, many: _Run) -> list[Figure]:
    of_many = f"{OPEN:,} open events, {ACTIVE} active"
    ratio = many.p99_ms[_OF_ALL] / one.p99_ms[_OF_ALL]
    return [
        _figure(f"{of_many}: p99, by that of one event", ratio, "×", at_most=1.3),
        *_latencies("one event", one, _OF_ALL),
        *_latencies(of_many, many, _OF_ALL),
    ]


def _fair_figures(beside_none: _Run, beside_large: _Run) -> list[Figure]:
    ratio = beside_large.p99_ms[_OF_SMALL] / beside_none.p99_ms[_OF_ALL]
    return [
        _figure(f"{SMALL} small events beside a large one: p99, by that without it", ratio, "×", at_most=1.2),
        *_latencies(f"{SMALL} small events alone", beside_none, _OF_ALL),
        *_latencies(f"{SMALL} small events beside a large one", beside_large, _OF_SMALL),
        *_latencies("the large one", beside_large, _OF_LARGE),
    ]


def _latencies(what: str, run: _Run, entry: str) -> list[Figure]:
    note = f"cores {run.busy:.0%} busy"
    return [
        _figure(f"{what}: POST to viewer, p50", run.p50_ms[entry], "ms"),
        _figure(f"{what}: POST to viewer, p99", run.p99_ms[entry], "ms", note),
    ]


def _figure(name: str, value: float, unit: str, note: str = "", *, at_most: float | None = None) -> Figure:
    return Figure(part=_PART, name=name, value=value, unit=unit, note=note, at_most=at_most)
