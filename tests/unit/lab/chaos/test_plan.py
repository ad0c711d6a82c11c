"""Tests that only the seed decides the faults, and that every process can be a victim."""

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.chaos import plan
from emostream_lab.chaos.injector import EXECUTOR, victims
from emostream_lab.chaos.plan import Kind
from emostream_lab.processes.topology import Layout, parts

TIERS = {"kafka": ["kafka"], "subscriber": ["subscriber@1", "subscriber@2"], EXECUTOR: [EXECUTOR]}
DECK = 2 * len(TIERS) + 5


@given(st.integers(), st.integers(1, 60))
def test_the_same_seed_gives_the_same_faults_in_the_order_of_time(seed: int, count: int) -> None:
    faults = plan.schedule(seed, count, TIERS)
    assert faults == plan.schedule(seed, count, TIERS)
    assert len(faults) == count
    times = [(fault.burst, fault.after_seconds) for fault in faults]
    assert times == sorted(times)


@given(st.integers())
def test_every_kind_of_fault_befalls_every_tier_before_one_comes_again(seed: int) -> None:
    faults = plan.schedule(seed, DECK, TIERS)
    for kind in (Kind.KILL, Kind.STOP):
        first_victims = {fault.victims[0].partition("@")[0] for fault in faults if fault.kind is kind}
        assert first_victims == set(TIERS)
    assert {fault.kind for fault in faults} == set(Kind)


@given(st.integers())
def test_faults_come_in_bursts_without_a_pause_and_some_alone(seed: int) -> None:
    faults = plan.schedule(seed, 500, TIERS)
    bursts = [list(burst) for _, burst in itertools.groupby(faults, lambda fault: fault.burst)]
    assert {len(burst) for burst in bursts[:-1]} == {1, 2, 4, 6, 8}
    for burst in bursts:
        assert burst[0].after_seconds == 0
        assert all(later.after_seconds - earlier.after_seconds <= 5.1 for earlier, later in itertools.pairwise(burst))


def test_faults_come_alone_where_that_is_asked_for() -> None:
    assert [fault.burst for fault in plan.schedule(1, 50, TIERS, most_in_burst=1)] == list(range(50))


@given(st.integers())
def test_two_at_once_are_two_processes(seed: int) -> None:
    for fault in plan.schedule(seed, 60, TIERS):
        assert len(set(fault.victims)) == len(fault.victims) <= 2


def test_all_that_stays_can_be_a_victim(tmp_path: Path) -> None:
    tiers = victims(parts(Layout(tmp_path, has_standbys=True)))
    assert "topics" not in tiers
    assert {"zookeeper", "kafka", "spark-master", "spark-worker", "registry", "audit", EXECUTOR} <= set(tiers)
    assert tiers["aggregator"] == ["aggregator", "aggregator-standby"]
    assert "publisher-standby@cluster1" in tiers["publisher"]
    assert len(tiers["subscriber"]) == 9


@given(st.integers(), st.integers(1, 60))
def test_the_same_seed_opens_each_event_once_and_closes_only_what_is_open(seed: int, count: int) -> None:
    faults = plan.schedule(seed, count, TIERS)
    steps = plan.event_steps(seed, faults)
    assert steps == plan.event_steps(seed, faults)
    assert len(steps) == (count + 1) // 2
    known, open_now = set(plan.OPEN_AT_FIRST), set(plan.OPEN_AT_FIRST)
    for step in steps:
        if step.verb == "open":
            assert step.event not in known
            known.add(step.event)
            open_now.add(step.event)
        else:
            open_now.remove(step.event)
    for step, fault in zip(steps, faults[::2], strict=True):
        assert step.burst == fault.burst
        assert 0 <= step.after_seconds - fault.after_seconds <= 2.05


def test_events_are_opened_and_closed_in_a_run_of_usual_length() -> None:
    for seed in range(20):
        assert {step.verb for step in plan.event_steps(seed, plan.schedule(seed, 25, TIERS))} == {"open", "close"}
