"""What runs is restarted host by host, by a play of its own, and keeps its release until then."""

import itertools
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from emostream_lab.machine.jars import REPOSITORY
from emostream_lab.roles import ROLES

PLAYBOOKS = REPOSITORY / "playbooks"
# Their hosts serve viewers, or what serves viewers.
TIERS = {"zookeeper", "kafka", "spark", "registry", "publisher", "subscriber", "ingest", "aggregator", "audit"}
# The unit of a role, where it is not emostream-ROLE.
UNITS = {"zookeeper": "zookeeper", "kafka": "kafka", "spark_master": "spark_master", "spark_worker": "spark_worker"}


def _plays(tier: str) -> list[dict[str, Any]]:
    plays: list[dict[str, Any]] = yaml.safe_load((PLAYBOOKS / f"{tier}.yml").read_text())
    return plays


def _waits(play: dict[str, Any]) -> bool:
    return bool(play.get("vars", {}).get("service_waits_for_roll"))


def test_these_tiers_roll() -> None:
    waiting = {path.stem for path in PLAYBOOKS.glob("*.yml") if any(map(_waits, _plays(path.stem)))}
    assert waiting == TIERS


@pytest.mark.parametrize("tier", sorted(TIERS))
def test_a_play_that_leaves_what_runs_is_followed_by_one_that_restarts_it(tier: str) -> None:
    plays = _plays(tier)
    for waiting, rolling in itertools.pairwise(plays):
        if not _waits(waiting):
            continue
        role = waiting["roles"][-1]["role"]
        assert rolling["serial"] == 1
        assert f"groups.{UNITS.get(role, f'emostream_{role}')}_rolls" in rolling["hosts"]
        assert role in [each["role"] for each in rolling.get("roles", [])] + [
            step["ansible.builtin.include_role"]["name"]
            for task in rolling.get("tasks", [])
            for step in task["block"]
            if "ansible.builtin.include_role" in step
        ]


@pytest.mark.parametrize("playbook", ["ingest", "registry", "restart"])
def test_the_gateways_ask_a_host_again_after_its_restart_also_if_that_failed(playbook: str) -> None:
    [block] = [task for play in _plays(playbook) for task in play.get("tasks", []) if "block" in task]
    first, last = block["block"][0]["vars"], block["always"][-1]["vars"]
    assert (first["gateways_command"], last["gateways_command"]) == ("drain", "ready")
    assert first["gateways_tier"] == last["gateways_tier"]


def test_no_unit_names_a_link_that_moves() -> None:
    # A default is for a host that was installed by hand.
    files = [*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/vars/*.yml"), *ROLES.glob("*/templates/*")]
    naming = {path.parts[len(ROLES.parts)] for path in files if "/current" in path.read_text()}
    assert naming == {"release"}


@pytest.mark.parametrize(
    ("tier", "unit"),
    [("zookeeper", "zookeeper"), ("kafka", "kafka"), ("spark", "spark_master"), ("aggregator", "emostream_aggregator")],
)
def test_the_leader_is_the_last_of_those_that_are_restarted(tier: str, unit: str) -> None:
    environment = NativeEnvironment()
    environment.filters["difference"] = lambda these, others: [each for each in these if each not in others]
    [hosts] = [play["hosts"] for play in _plays(tier) if f"{unit}_leads" in play["hosts"]]

    def order(**groups: list[str]) -> Any:
        return environment.from_string(hosts).render(groups=groups)

    rolls, leads = f"{unit}_rolls", f"{unit}_leads"
    assert order(**{rolls: ["c", "a", "b"], leads: ["a"]}) == ["b", "c", "a"]
    # One that does not know its leader now.
    assert order(**{rolls: ["c", "a", "b"]}) == ["a", "b", "c"]
    assert order() == "all:!all"
