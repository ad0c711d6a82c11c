"""The report of a chaos run, as JSON and as tables. Pure."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from emostream_lab.account.figures import Figures
from emostream_lab.account.moves import Move
from emostream_lab.chaos.growth import Held
from emostream_lab.chaos.injector import Injection
from emostream_lab.chaos.plan import Fault, Kind, Tiers
from emostream_lab.chaos.trail import Wrong

# A viewer notices at once that its subscriber was killed. A connection that is lost later has another cause.
_NOTICED_SECONDS = 2.0
_KILLED = {Kind.KILL, Kind.KILL_IN_COMMIT}
_KILLED_OR_STOPPED = {*_KILLED, Kind.STOP, Kind.STOP_IN_COMMIT}


class Times(msgspec.Struct, frozen=True):
    """The median and the maximum of `count` recovery times, in seconds. Both are None if there are none."""

    p50: float | None
    most: float | None
    count: int = 0


class Line(msgspec.Struct, frozen=True):
    """The results of one kind of fault on one tier.

    `ready` is the time until the victims are ready. `flow` is the time until swarms reach every topic again.
    `flow_alone` is the same for the faults that overlap with no other fault. `lost` and `doubled` count reactions in
    swarms that came after such a fault and before the next fault.
    """

    fault: str
    tried: int
    recovered: int
    ready: Times
    flow: Times
    flow_alone: Times
    lost: int
    doubled: int


class Recovery(msgspec.Struct, frozen=True):
    """The recovery times of a tier, and the target for them.

    `alone` covers the faults that overlap with no other fault. `all` covers every fault; its recoveries may also wait
    for other broken processes.
    """

    what: str
    target_seconds: int
    alone: Times
    all: Times


class Report(msgspec.Struct, frozen=True):
    """The whole run. It passed if `problems` is empty.

    `swarms` counts the swarms that came in `seconds`, the time of all faults and recoveries. `crowd` is the account of
    the crowd, or None if the crowd failed. `timeline` has the events in order.
    """

    seed: int
    faults: int
    seconds: int
    swarms: int
    problems: list[str]
    crowd: Figures | None
    recoveries: list[Recovery]
    lines: list[Line]
    repeats: int
    """Repeated records in the topics of the clusters, which subscribers drop."""
    dead_letters: int
    most_held: dict[str, Held]
    timeline: list[str]


def lines(injections: Sequence[Injection], wrongs: Sequence[Wrong], tiers: Tiers) -> list[Line]:
    """Return a line for each kind of fault on each tier. Faults with two victims have lines of their own."""
    tier_of = {name: tier for tier, names in tiers.items() for name in names}
    found: dict[str, list[Injection]] = {}
    for injection in injections:
        found.setdefault(_name(injection.fault, tier_of), []).append(injection)
    blamed = [(_blamed(wrong, injections), wrong) for wrong in wrongs]
    return [
        Line(
            fault=name,
            tried=len(members),
            recovered=sum(injection.is_recovered for injection in members),
            ready=_times([injection.ready_seconds for injection in members]),
            flow=_times([injection.flow_seconds for injection in members]),
            flow_alone=_times([injection.flow_seconds for injection in members if _is_alone(injection, injections)]),
            lost=sum(wrong.lost for injection, wrong in blamed if injection in members),
            doubled=sum(wrong.doubled for injection, wrong in blamed if injection in members),
        )
        for name, members in sorted(found.items())
    ]


@dataclass(frozen=True)
class _Target:
    """A recovery that should take at most `within_seconds` after a fault of these kinds that hits only this tier."""

    what: str
    tier: str
    kinds: set[Kind]
    within_seconds: int
    measure: Callable[[Injection, Sequence[Move]], Sequence[float | None]]


def _until_ready(injection: Injection, _: Sequence[Move]) -> Sequence[float | None]:
    return [injection.ready_seconds]


def _until_flow(injection: Injection, _: Sequence[Move]) -> Sequence[float | None]:
    return [injection.flow_seconds]


def _from_ready_to_flow(injection: Injection, _: Sequence[Move]) -> Sequence[float | None]:
    if injection.ready_seconds is None or injection.flow_seconds is None:
        return [None]
    return [max(0.0, injection.flow_seconds - injection.ready_seconds)]


def _away(injection: Injection, moves: Sequence[Move]) -> Sequence[float | None]:
    """Return how many seconds each viewer of a killed subscriber was without one.

    A victim is named `subscriber@port`, and a move names the same subscriber `cluster/port`.
    """
    assert injection.injected_at is not None  # noqa: S101
    ports = {victim.partition("@")[2] for victim in injection.fault.victims}
    noticed_until = injection.injected_at + _NOTICED_SECONDS
    return [
        move.away_seconds
        for move in moves
        if move.subscriber.partition("/")[2] in ports and injection.injected_at <= move.lost_at_seconds <= noticed_until
    ]


_TARGETS = [
    _Target("a killed ingest is ready", "ingest", _KILLED, 5, _until_ready),
    _Target("swarms flow after a killed publisher", "publisher", _KILLED, 10, _until_flow),
    _Target("viewers of a killed subscriber have one", "subscriber", _KILLED, 5, _away),
    _Target("swarms flow after a killed aggregator", "aggregator", _KILLED, 30, _until_flow),
    _Target("swarms flow after Kafka is back", "kafka", _KILLED_OR_STOPPED, 15, _from_ready_to_flow),
    _Target("swarms flow after ZooKeeper is back", "zookeeper", _KILLED_OR_STOPPED, 15, _from_ready_to_flow),
]


def recoveries(injections: Sequence[Injection], moves: Sequence[Move], tiers: Tiers) -> list[Recovery]:
    """Return the recovery times for each target. The times of `moves` must be on the clock of the run."""
    found = []
    for target in _TARGETS:
        hit = [injection for injection in injections if _is_of(injection, target, tiers)]
        alone = [injection for injection in hit if _is_alone(injection, injections)]
        times = [
            _times([each for injection in members for each in target.measure(injection, moves)])
            for members in (alone, hit)
        ]
        found.append(Recovery(target.what, target.within_seconds, *times))
    return found


def _is_of(injection: Injection, target: _Target, tiers: Tiers) -> bool:
    victims, kind = injection.fault.victims, injection.fault.kind
    is_known = injection.injected_at is not None and kind in target.kinds
    return is_known and all(victim in tiers[target.tier] for victim in victims)


def recovery_table(found: Sequence[Recovery]) -> str:
    """Format the recoveries as a table. Each cell has the median and the maximum in seconds."""
    head = f"  {'recovery':<42}{'target':>7}{'alone':>16}{'all':>18}"
    rows = [
        f"  {each.what:<42}{each.target_seconds:>7}{_counted(each.alone):>16}{_counted(each.all):>18}" for each in found
    ]
    return "\n".join([head, *rows])


def table(found: Sequence[Line]) -> str:
    """Format the lines as a table. Each cell with times has the median and the maximum in seconds."""
    head = (
        f"  {'fault':<36}{'tried':>6}{'back':>6}{'ready':>14}{'flow':>14}{'flow, alone':>14}{'lost':>6}{'doubled':>9}"
    )
    rows = [
        f"  {line.fault:<36}{line.tried:>6}{line.recovered:>6}"
        + "".join(f"{_pair(times):>14}" for times in (line.ready, line.flow, line.flow_alone))
        + f"{line.lost:>6}{line.doubled:>9}"
        for line in found
    ]
    return "\n".join([head, *rows])


def _name(fault: Fault, tier_of: dict[str, str]) -> str:
    if len(fault.victims) > 1:
        return f"{fault.kind} two at once"
    (victim,) = fault.victims
    return f"{fault.kind} {tier_of.get(victim, victim)}"


def _blamed(wrong: Wrong, injections: Sequence[Injection]) -> Injection | None:
    """Return the last fault that was injected before `wrong`."""
    before = [
        injection
        for injection in injections
        if injection.injected_at is not None and injection.injected_at <= wrong.at_seconds
    ]
    return max(before, key=lambda injection: injection.injected_at or 0, default=None)


def _is_alone(injection: Injection, injections: Sequence[Injection]) -> bool:
    span = _span(injection)
    if span is None:
        return False
    others = [_span(other) for other in injections if other is not injection]
    return not any(other is not None and other[0] < span[1] and span[0] < other[1] for other in others)


def _span(injection: Injection) -> tuple[float, float] | None:
    if injection.injected_at is None or injection.released_at is None:
        return None
    longest = max(injection.ready_seconds or 0, injection.flow_seconds or 0)
    return injection.injected_at, injection.released_at + longest


def _times(seconds: Sequence[float | None]) -> Times:
    known = [each for each in seconds if each is not None]
    if not known:
        return Times(None, None)
    return Times(round(statistics.median(known), 1), round(max(known), 1), len(known))


def _pair(times: Times) -> str:
    return "–" if times.p50 is None else f"{times.p50} {times.most}"


def _counted(times: Times) -> str:
    return f"{_pair(times)} ({times.count})" if times.count else _pair(times)
