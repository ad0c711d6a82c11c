"""Measures what a delivery, a request and an assignment cost at 1 to 8 times the load, and with 1 to 1,000 events.

The benchmark of the aggregator shows how the time of a batch grows with past batches.
"""

import random
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from emostream import palette
from emostream.errors import EmoStreamError
from emostream.events import store
from emostream.events.table import Definition
from emostream.model import AssignmentRequest, encode, event_path
from emostream.registry.placement import Placement
from emostream.runtime.coordination import connect
from emostream_lab.audience import events
from emostream_lab.bench import fanout, ingest, machine, posts, servers
from emostream_lab.bench.figures import Figure, Findings, Growth, Measured, per_cpu_second
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.bench.viewers import Viewers
from emostream_lab.load.http import Endpoint
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST

VIEWERS = (500, 1_000, 2_000, 4_000)
CONNECTIONS = (32, 64, 128, 256)
SUBSCRIBERS = (1_250, 2_500, 5_000, 10_000)
EVENTS = (1, 10, 100, 1_000)
_SECONDS, _SECONDS_BY_EVENTS = 6, 4
_VIEWERS_OF_ALL_EVENTS = 4_000
_CONNECTIONS_TO_ALL_EVENTS = 64
_KNOWN_SECONDS = 30
# Nobody takes the seats that are assigned here, so they must be free again before all are given away.
_SETTINGS_BY_EVENTS = {"EMOSTREAM_SUBSCRIBER_CAPACITY": str(fanout.CAPACITY), "EMOSTREAM_REGISTRY_PENDING_SECONDS": "1"}
_ASSIGNMENTS_PATH = "/v1/assignments"
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
            *_by_events(directory / "events", tell, cores.server),
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


def _by_events(directory: Path, tell: Tell, core: int) -> list[Growth]:
    """Measure three tiers with growing numbers of open events. The same load is spread over all of them."""
    costs: dict[tuple[str, str], dict[int, float]] = {}
    tiers_of = (*fanout.TIERS, "ingest", "registry")
    with servers.running_tiers(directory, tiers_of, tell, _SETTINGS_BY_EVENTS) as tiers:
        kafka = f"{HOST}:{tiers.layout.ports.kafka}"
        for tier in ("subscriber", "ingest", "registry"):
            machine.pin(tiers.pid(tier), core)
        for number in EVENTS:
            names = events.names("bench", number)
            _open(tiers, names)
            with fanout.audience("kafka", kafka, directory, number):
                _wait_until_known(tiers, names[-1])
                for what, measured in _measured_with(tiers, names, tell):
                    costs.setdefault(what, {})[number] = 1e6 / per_cpu_second([measured])
    return [Growth(what, "open events", cost, by_events) for (what, cost), by_events in costs.items()]


def _measured_with(tiers: RunningTiers, names: Sequence[str], tell: Tell) -> Iterator[tuple[tuple[str, str], Measured]]:
    tell(f"{len(names):,} open events: deliveries")
    yield ("fan-out", "µs a delivery"), _delivered(tiers, [f"{event_path(event)}/stream" for event in names])
    tell(f"{len(names):,} open events: requests")
    paths = [f"{event_path(event)}/reactions" for event in names]
    yield ("ingest", "µs a request"), ingest.post_single(tiers, _CONNECTIONS_TO_ALL_EVENTS, _SECONDS_BY_EVENTS, paths)
    tell(f"{len(names):,} open events: assignments")
    yield ("registry", "µs an assignment by HTTP"), _assigned(tiers, names)


def _delivered(tiers: RunningTiers, paths: Sequence[str]) -> Measured:
    viewers = Viewers(tiers.subscriber_port, paths, _VIEWERS_OF_ALL_EVENTS, [tiers.pid("subscriber")])
    try:
        return viewers.read_for(_SECONDS_BY_EVENTS)
    finally:
        viewers.close()


def _assigned(tiers: RunningTiers, names: Sequence[str]) -> Measured:
    wanted = [encode(AssignmentRequest(f"bench-{user}", event=names[user % len(names)])) for user in range(1_000)]
    port, pid = tiers.layout.ports.registry, tiers.pid("registry")
    return posts.post(port, pid, [_ASSIGNMENTS_PATH], wanted, _CONNECTIONS_TO_ALL_EVENTS, _SECONDS_BY_EVENTS)


def _wait_until_known(tiers: RunningTiers, event: str) -> None:
    """Wait until the measured tiers know an event. Raises EmoStreamError if that takes too long."""
    ports, name = tiers.layout.ports, f'"event":"{event}"'.encode()
    palette_of = Endpoint(f"http://{HOST}:{ports.ingest}{event_path(event)}/palette")
    assignments = Endpoint(f"http://{HOST}:{ports.registry}{_ASSIGNMENTS_PATH}")
    figures = Endpoint(f"http://{HOST}:{ports.subscriber_admins[0][0]}/v1/events")
    wanted = encode(AssignmentRequest("bench", event=event))
    deadline = time.monotonic() + _KNOWN_SECONDS
    while not (
        palette_of.get().status == assignments.post(wanted).status == HTTPStatus.OK and name in figures.get().body
    ):
        if time.monotonic() > deadline:
            raise EmoStreamError(f"not all tiers knew the event {event} in {_KNOWN_SECONDS} s.")
        time.sleep(0.1)


def _open(tiers: RunningTiers, names: Sequence[str]) -> None:
    """Write the table as an aggregator leaves it once these events are open. None runs here."""
    zookeeper, _ = topology.operator_settings(tiers.layout)
    client = connect(zookeeper)
    try:
        defined = {event: Definition(event, palette.DEFAULT, "open", "0" * 11) for event in names[1:]}
        store.change(client, lambda _: defined)
    finally:
        client.stop()
        client.close()


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
