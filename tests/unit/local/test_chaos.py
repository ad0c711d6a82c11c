"""The faults follow from the seed alone and spare nobody; the report is of what was seen."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from emostream.local import chaos
from emostream.local.chaos import Course, Fault, Line
from emostream.local.topology import Layout, parts

NAMES = ("kafka", "ingest", "aggregator", chaos.EXECUTOR)


@given(st.integers(), st.integers(1, 60))
def test_the_same_seed_gives_the_same_faults_in_the_order_of_time(seed: int, count: int) -> None:
    faults = chaos.schedule(seed, count, NAMES)
    assert faults == chaos.schedule(seed, count, NAMES)
    assert len(faults) == count
    times = [fault.at_seconds for fault in faults]
    assert times == sorted(times)
    # A run of 25 is to end within 8 minutes, one of 200 within an hour.
    assert times[-1] <= 15 * count


@given(st.integers())
def test_every_process_has_its_turn(seed: int) -> None:
    faults = chaos.schedule(seed, 2 * len(NAMES), NAMES)
    assert {name for fault in faults for name in fault.victims} == set(NAMES)


def test_all_that_stays_can_be_a_victim(tmp_path: Path) -> None:
    names = chaos.victims(parts(Layout(tmp_path, has_standbys=True)))
    assert "topics" not in names
    assert {"zookeeper", "kafka", "spark-worker", "aggregator-standby", "subscriber@9001", chaos.EXECUTOR} <= set(names)


def test_spark_inside_the_driver_has_no_executor_to_kill(tmp_path: Path) -> None:
    assert chaos.EXECUTOR not in chaos.victims(parts(Layout(tmp_path, spark_master="local[2]")))


def test_the_report_tells_each_kind_of_fault_apart() -> None:
    courses = [
        Course(Fault(0, "kill", ("subscriber@1",)), recovered_seconds=2.04),
        Course(Fault(9, "kill", ("subscriber@2",)), recovered_seconds=4.0),
        Course(Fault(18, "stop", ("subscriber@2",))),
        Course(Fault(27, "kill", ("kafka", "subscriber@2")), recovered_seconds=12.0),
    ]
    lines = chaos.report(courses, {"subscriber@1": "subscriber", "subscriber@2": "subscriber"})
    assert lines == [
        Line("kill subscriber", 2, 2, 3.0, 4.0),
        Line("kill two at once", 1, 1, 12.0, 12.0),
        Line("stop subscriber", 1, 0, None, None),
    ]
    assert "stop subscriber" in chaos.table(lines)
