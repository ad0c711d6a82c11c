"""Tests that only the seed decides the faults of a deployment, and that every unit can be a victim."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import EmoStreamError
from emostream_lab import cli
from emostream_lab.chaos.hosts import Kind, kinds_of, schedule

UNITS = {
    "kafka1": ["kafka.service", "zookeeper.service"],
    "kafka2": ["kafka.service"],
    "edge1": ["emostream-subscriber@1.service", "emostream-subscriber@2.service"],
    "loadgen1": [],
}
HOSTS = {"kafka1", "kafka2", "edge1"}
TIERS = {"kafka", "zookeeper", "emostream-subscriber"}


@given(st.integers(), st.integers(1, 60))
def test_the_same_seed_gives_the_same_faults(seed: int, count: int) -> None:
    faults = schedule(seed, count, list(Kind), UNITS)
    assert len(faults) == count
    assert faults == schedule(seed, count, list(Kind), dict(reversed(UNITS.items())))


@given(st.integers())
def test_every_kind_comes_once_before_any_comes_again(seed: int) -> None:
    faults = schedule(seed, 2 * len(Kind), list(Kind), UNITS)
    for half in faults[: len(Kind)], faults[len(Kind) :]:
        assert {fault.kind for fault in half} == set(Kind)


@pytest.mark.parametrize("kind", [Kind.KILL, Kind.STOP])
@given(seed=st.integers())
def test_every_tier_is_hit_once_before_any_is_hit_again(kind: Kind, seed: int) -> None:
    faults = schedule(seed, len(TIERS), [kind], UNITS)
    assert {fault.unit.partition("@")[0] for fault in faults} == TIERS
    assert all(f"{fault.unit}.service" in UNITS[fault.host] for fault in faults)


@pytest.mark.parametrize("kind", [Kind.INBOUND, Kind.OUTBOUND])
@given(seed=st.integers())
def test_every_host_that_takes_part_is_cut_off_once_before_any_is_again(kind: Kind, seed: int) -> None:
    faults = schedule(seed, len(HOSTS), [kind], UNITS)
    assert {fault.host for fault in faults} == HOSTS
    assert {fault.unit for fault in faults} == {""}


@given(st.integers())
def test_only_the_disks_of_brokers_are_filled(seed: int) -> None:
    assert {fault.host for fault in schedule(seed, 2, [Kind.DISK], UNITS)} == {"kafka1", "kafka2"}


def test_a_fault_that_can_befall_nobody_is_refused() -> None:
    with pytest.raises(EmoStreamError, match="disk"):
        schedule(1, 1, [Kind.DISK], {"edge1": UNITS["edge1"]})


def test_kinds_are_a_list_of_known_ones() -> None:
    assert kinds_of("disk, kill") == [Kind.KILL, Kind.DISK]
    for wrong in ("", ",", "kill,fire"):
        with pytest.raises(EmoStreamError, match="name some of kill, stop, inbound, outbound, disk"):
            kinds_of(wrong)


def test_the_command_prints_what_the_playbook_carries_out() -> None:
    shown = CliRunner().invoke(cli.main, ["faults", "--count", "5"], input=json.dumps(UNITS))
    assert shown.exit_code == 0, shown.output
    faults = json.loads(shown.output)
    assert {fault["kind"] for fault in faults} == {kind.value for kind in Kind}
    assert all(fault["host"] in fault["text"] for fault in faults)
