"""The report is of what was seen, and tells each kind of fault apart."""

from emostream.local.chaos import report
from emostream.local.chaos.injector import Course
from emostream.local.chaos.plan import Fault, Kind
from emostream.local.chaos.report import Line, Times
from emostream.local.chaos.trail import Wrong

TIERS = {"subscriber": ["subscriber@1", "subscriber@2"], "kafka": ["kafka"]}
NONE = Times(None, None)


def course(at: float, kind: Kind, victims: tuple[str, ...], ready: float | None, flow: float | None) -> Course:
    return Course(Fault(at, kind, victims), injected_at=at, released_at=at, ready_seconds=ready, flow_seconds=flow)


COURSES = [
    course(1, Kind.KILL, ("subscriber@1",), 2.04, 1.0),
    course(10, Kind.KILL, ("subscriber@2",), 4.0, 3.0),
    course(20, Kind.STOP, ("subscriber@2",), 1.0, None),
    # It came before the subscriber of 10 s was back.
    course(12, Kind.KILL, ("kafka", "subscriber@2"), 5.0, 6.0),
]


def test_each_kind_of_fault_on_a_tier_has_its_line() -> None:
    assert report.lines(COURSES, [], TIERS) == [
        Line("kill subscriber", 2, 2, Times(3.0, 4.0), Times(2.0, 3.0), Times(1.0, 1.0), 0, 0),
        Line("kill two at once", 1, 1, Times(5.0, 5.0), Times(6.0, 6.0), NONE, 0, 0),
        Line("stop subscriber", 1, 0, Times(1.0, 1.0), NONE, NONE, 0, 0),
    ]


def test_the_last_fault_before_it_is_blamed_for_what_is_wrong() -> None:
    wrongs = [Wrong(11.0, "", lost=3), Wrong(13.0, "", doubled=2), Wrong(0.5, "", lost=7)]
    blamed = {line.fault: (line.lost, line.doubled) for line in report.lines(COURSES, wrongs, TIERS)}
    assert blamed == {"kill subscriber": (3, 0), "kill two at once": (0, 2), "stop subscriber": (0, 0)}


def test_the_table_shows_what_is_not_known_as_such() -> None:
    head, *rows = report.table(report.lines(COURSES, [], TIERS)).splitlines()
    assert head.split()[:3] == ["fault", "tried", "back"]
    assert rows[2].split() == ["stop", "subscriber", "1", "0", "1.0", "1.0", "–", "–", "0", "0"]
