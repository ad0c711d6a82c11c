"""What a run found, for a person and as JSON. Pure."""

import statistics
from collections.abc import Sequence

import msgspec

from emostream.local.chaos.growth import Held
from emostream.local.chaos.injector import Course
from emostream.local.chaos.plan import Fault, Tiers
from emostream.local.chaos.trail import Wrong


class Times(msgspec.Struct, frozen=True):
    """Of recoveries, in seconds; None where there was none."""

    p50: float | None
    most: float | None


class Line(msgspec.Struct, frozen=True):
    """A kind of fault on a tier. `ready` is until the victims said that they were, `flow` until swarms went all the
    way again; `flow_alone` counts the faults only that no other one met. `lost` and `doubled` are reactions in swarms
    that came after such a fault and before the next."""

    fault: str
    tried: int
    recovered: int
    ready: Times
    flow: Times
    flow_alone: Times
    lost: int
    doubled: int


class Report(msgspec.Struct, frozen=True):
    """The whole run; it is good where `problems` is empty. `timeline` is what happened, in order."""

    seed: int
    faults: int
    seconds: int
    problems: list[str]
    lines: list[Line]
    repeats: int
    """Records in the clusters' topics that subscribers had to drop."""
    dead_letters: int
    most_held: dict[str, Held]
    timeline: list[str]


def lines(courses: Sequence[Course], wrongs: Sequence[Wrong], tiers: Tiers) -> list[Line]:
    """A line a kind of fault and tier. Two victims at once are a kind of their own."""
    tier_of = {name: tier for tier, names in tiers.items() for name in names}
    found: dict[str, list[Course]] = {}
    for course in courses:
        found.setdefault(_name(course.fault, tier_of), []).append(course)
    blamed = [(_blamed(wrong, courses), wrong) for wrong in wrongs]
    return [
        Line(
            fault=name,
            tried=len(members),
            recovered=sum(course.is_recovered for course in members),
            ready=_times([course.ready_seconds for course in members]),
            flow=_times([course.flow_seconds for course in members]),
            flow_alone=_times([course.flow_seconds for course in members if _is_alone(course, courses)]),
            lost=sum(wrong.lost for course, wrong in blamed if course in members),
            doubled=sum(wrong.doubled for course, wrong in blamed if course in members),
        )
        for name, members in sorted(found.items())
    ]


def table(found: Sequence[Line]) -> str:
    """The lines for a person; seconds are p50 and most."""
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


def _blamed(wrong: Wrong, courses: Sequence[Course]) -> Course | None:
    """The last fault before it."""
    before = [course for course in courses if course.injected_at is not None and course.injected_at <= wrong.at_seconds]
    return max(before, key=lambda course: course.injected_at or 0, default=None)


def _is_alone(course: Course, courses: Sequence[Course]) -> bool:
    span = _span(course)
    if span is None:
        return False
    others = [_span(other) for other in courses if other is not course]
    return not any(other is not None and other[0] < span[1] and span[0] < other[1] for other in others)


def _span(course: Course) -> tuple[float, float] | None:
    if course.injected_at is None or course.released_at is None:
        return None
    longest = max(course.ready_seconds or 0, course.flow_seconds or 0)
    return course.injected_at, course.released_at + longest


def _times(seconds: Sequence[float | None]) -> Times:
    known = [each for each in seconds if each is not None]
    if not known:
        return Times(None, None)
    return Times(round(statistics.median(known), 1), round(max(known), 1))


def _pair(times: Times) -> str:
    return "–" if times.p50 is None else f"{times.p50} {times.most}"
