"""Measures what a delivery, a request and an assignment cost at 1, 2, 4 and 8 times the load.

The benchmark of the aggregator shows how the time of a batch grows with past batches.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from emostream.registry.placement import Placement
from emostream_lab.bench import fanout, ingest, machine, servers
from emostream_lab.bench.figures import Figure, Findings, Growth, per_cpu_second
from emostream_lab.bench.servers import Tell

VIEWERS = (500, 1_000, 2_000, 4_000)
CONNECTIONS = (32, 64, 128, 256)
SUBSCRIBERS = (1_250, 2_500, 5_000, 10_000)
_SECONDS = 6
_ASSIGNMENTS = 20_000
# One round takes a tenth of a second, and a shared machine may stand still for half of it. So the best round counts.
_ROUNDS_OF_ASSIGNMENTS = 5
_PENDING_SECONDS = 10
# A subscriber reports every second. In a rush, there is one report for this many assignments.
_ASSIGNMENTS_PER_REPORT = 10
_PART = "growth"


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure all costs. A quick run measures assignments only."""
    growth = [] if quick else _of_servers(directory, tell)
    tell("assignments")
    growth.append(Growth("registry", "subscribers", "µs an assignment", _assignments()))
    return Findings(figures=[figure for each in growth for figure in _figures(each)], growth=growth)


def _of_servers(directory: Path, tell: Tell) -> list[Growth]:
    with machine.load_on_its_own_cores() as cores:
        return [
            Growth("fan-out", "viewers", "µs a delivery", _deliveries(directory, tell, cores.server)),
            Growth("ingest", "connections", "µs a request", _requests(directory, tell, cores.server)),
        ]


def _deliveries(directory: Path, tell: Tell, core: int) -> dict[int, float]:
    costs = {}
    with fanout.running_subscriber(directory / "fan-out", tell, core) as tiers:
        for viewers in VIEWERS:
            tell(f"{viewers:,} viewers")
            costs[viewers] = 1e6 / per_cpu_second([fanout.watch_stream(tiers, viewers, _SECONDS)])
    return costs


def _requests(directory: Path, tell: Tell, core: int) -> dict[int, float]:
    costs = {}
    with servers.running_tiers(directory / "ingest", ingest.TIERS, tell) as tiers:
        machine.pin(tiers.pid("ingest"), core)
        for connections in CONNECTIONS:
            tell(f"{connections} connections")
            costs[connections] = 1e6 / per_cpu_second([ingest.post_single(tiers, connections, _SECONDS)])
    return costs


def _assignments() -> dict[int, float]:
    return {n: min(_assignment_us(n) for _ in range(_ROUNDS_OF_ASSIGNMENTS)) for n in SUBSCRIBERS}


def _assignment_us(subscribers: int) -> float:
    """Return the microseconds for an assignment and its share of a report, in a rush of viewers."""
    draw = random.Random(7)
    placement = Placement(_PENDING_SECONDS, draw.random)
    names = [f"cluster{number % 10}/{number}" for number in range(subscribers)]
    for name in names:
        placement.report(name, capacity=1_000, clients=draw.randrange(500))
    began = time.process_time()
    for number in range(_ASSIGNMENTS):
        placement.assign(number / 1_000)
        if number % _ASSIGNMENTS_PER_REPORT == 0:
            placement.report(draw.choice(names), capacity=1_000, clients=draw.randrange(500))
    return 1e6 * (time.process_time() - began) / _ASSIGNMENTS


def _figures(growth: Growth) -> Iterator[Figure]:
    """Yield how the cost grows, and what it is at the greatest load. The second figure is for comparing revisions."""
    costs = list(growth.costs.values())
    note = f"{costs[0]:.3g} to {costs[-1]:.3g}"
    name = f"{growth.what}: {growth.cost} by {growth.load}"
    yield Figure(part=_PART, name=name, value=growth.exponent, unit="exponent", note=note, at_most=0.1)
    unit, _, work = growth.cost.partition(" ")
    name = f"{growth.what}: {work} at {max(growth.costs):,} {growth.load}"
    yield Figure(part=_PART, name=name, value=costs[-1], unit=unit)
