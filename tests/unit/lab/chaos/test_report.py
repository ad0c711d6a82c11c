"""Tests that the report has a line for each kind of fault, with the measured values."""

from emostream_lab.account.moves import Move
from emostream_lab.chaos import report
from emostream_lab.chaos.injector import Injection
from emostream_lab.chaos.plan import Fault, Kind
from emostream_lab.chaos.report import Line, Recovery, Times
from emostream_lab.chaos.trail import Wrong

TIERS = {
    "subscriber": ["subscriber@1", "subscriber@2"],
    **{name: [name] for name in ("kafka", "zookeeper", "ingest", "publisher", "aggregator")},
}
NONE = Times(None, None)


def injection(at: float, kind: Kind, victims: tuple[str, ...], ready: float | None, flow: float | None) -> Injection:
    return Injection(
        Fault(0, at, kind, victims), injected_at=at, released_at=at, ready_seconds=ready, flow_seconds=flow
    )


INJECTIONS = [
    injection(1, Kind.KILL, ("subscriber@1",), 2.04, 1.0),
    injection(10, Kind.KILL, ("subscriber@2",), 4.0, 3.0),
    injection(20, Kind.STOP, ("subscriber@2",), 1.0, None),
    # This fault overlaps with the one at 10 s.
    injection(12, Kind.KILL, ("kafka", "subscriber@2"), 5.0, 6.0),
]


def test_each_kind_of_fault_on_a_tier_has_its_line() -> None:
    assert report.lines(INJECTIONS, [], TIERS) == [
        Line("kill subscriber", 2, 2, Times(3.0, 4.0, 2), Times(2.0, 3.0, 2), Times(1.0, 1.0, 1), 0, 0),
        Line("kill two at once", 1, 1, Times(5.0, 5.0, 1), Times(6.0, 6.0, 1), NONE, 0, 0),
        Line("stop subscriber", 1, 0, Times(1.0, 1.0, 1), NONE, NONE, 0, 0),
    ]


def test_the_last_fault_before_it_is_blamed_for_what_is_wrong() -> None:
    wrongs = [Wrong(11.0, "", lost=3), Wrong(13.0, "", doubled=2), Wrong(0.5, "", lost=7)]
    blamed = {line.fault: (line.lost, line.doubled) for line in report.lines(INJECTIONS, wrongs, TIERS)}
    assert blamed == {"kill subscriber": (3, 0), "kill two at once": (0, 2), "stop subscriber": (0, 0)}


def test_the_table_shows_what_is_not_known_as_such() -> None:
    head, *rows = report.table(report.lines(INJECTIONS, [], TIERS)).splitlines()
    assert head.split()[:3] == ["fault", "tried", "back"]
    assert rows[2].split() == ["stop", "subscriber", "1", "0", "1.0", "1.0", "–", "–", "0", "0"]


def recovery(what: str, injections: list[Injection], moves: list[Move]) -> Recovery:
    [found] = [each for each in report.recoveries(injections, moves, TIERS) if what in each.what]
    return found


def test_recoveries_are_told_against_their_targets_those_alone_apart() -> None:
    injections = [
        injection(0, Kind.KILL, ("aggregator",), 9.0, 20.0),
        injection(100, Kind.KILL, ("aggregator",), 9.0, 40.0),
        injection(101, Kind.KILL, ("ingest",), 2.0, 30.0),
    ]
    found = recovery("killed aggregator", injections, [])
    assert (found.target_seconds, found.alone, found.all) == (30, Times(20.0, 20.0, 1), Times(30.0, 40.0, 2))
    assert recovery("killed ingest", injections, []).all == Times(2.0, 2.0, 1)


def test_a_broker_is_waited_for_before_the_flow_is() -> None:
    injections = [
        injection(0, Kind.KILL_IN_COMMIT, ("kafka",), 12.0, 17.0),
        injection(50, Kind.STOP, ("kafka",), 0.1, 7.1),
        injection(90, Kind.KILL, ("kafka",), None, None),
    ]
    assert recovery("Kafka is back", injections, []).all == Times(6.0, 7.0, 2)


def test_viewers_are_those_of_the_subscriber_that_was_killed_and_noticed_it() -> None:
    injections = [
        injection(10, Kind.KILL, ("subscriber@1",), 2.0, 1.0),
        injection(60, Kind.STOP, ("subscriber@2",), 0.0, 1.0),
    ]
    moves = [
        Move("cluster1/1", 10.1, 0.5),
        Move("cluster1/1", 10.1, 1.5),
        Move("cluster1/2", 10.2, 9.0),
        Move("cluster1/1", 30.0, 9.0),
        Move("cluster1/2", 60.1, 9.0),
    ]
    assert recovery("killed subscriber", injections, moves).alone == Times(1.0, 1.5, 2)


def test_the_recoveries_read_as_a_table() -> None:
    found = [
        Recovery("swarms flow after a killed publisher", 10, NONE, Times(2.0, 3.0, 4)),
    ]
    [_, row] = report.recovery_table(found).splitlines()
    assert row.split()[-5:] == ["10", "–", "2.0", "3.0", "(4)"]
