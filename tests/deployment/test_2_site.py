"""site.yml deploys a verified system on bare hosts in one run, and a second run changes nothing."""

from pathlib import Path

import pytest

from tests.deployment import control
from tests.deployment.conftest import Say
from tests.deployment.control import PlaybookRun
from tests.deployment.hosts import EDGES, GATEWAY_URL, MACHINES


@pytest.mark.usefixtures("hosts")
def test_check_mode_passes_on_bare_hosts(say: Say) -> None:
    # This test is the first, because later the hosts are not bare. It makes the archives for the first run.
    checked = control.play("site.yml", "--check", seconds=2_400)
    say(f"site.yml --check on bare hosts: {checked.summary}")
    assert checked.status == 0, checked.output


@pytest.mark.quick
def test_one_run_ends_with_the_verifications_figures_and_the_addresses(first_run: PlaybookRun) -> None:
    assert first_run.status == 0, first_run.output
    output = " ".join(first_run.output.split())
    subscribers = 3 * len(EDGES)
    assert (
        f"1241 reactions were accepted, and counted exactly at a viewer of each of {subscribers} subscribers" in output
    )
    for address in (
        f"{GATEWAY_URL}/",
        f"{GATEWAY_URL}/v1/topology",
        f"http://{MACHINES['loadgen1']['ansible_host']}:8089/",
    ):
        assert address in output


@pytest.mark.quick
@pytest.mark.usefixtures("system")
def test_a_second_run_changes_nothing(say: Say) -> None:
    second = control.play("site.yml", seconds=1_200)
    say(f"site.yml on a system that runs: {second.summary}")
    assert second.status == 0, second.output
    assert second.changed == []


@pytest.mark.quick
@pytest.mark.usefixtures("hosts")
def test_vagrant_up_changes_no_machine_that_runs() -> None:
    # What LXC starts it with the next time.
    config = Path("/var/lib/lxc/kafka1/config")
    before = config.read_text()
    control.succeed(["vagrant", "up", "kafka1"], seconds=120)
    assert config.read_text() == before


@pytest.mark.usefixtures("system")
def test_check_mode_finds_nothing_to_change_in_a_system_that_runs() -> None:
    checked = control.play("site.yml", "--check", seconds=1_200)
    assert checked.status == 0, checked.output
    assert checked.changed == []


@pytest.mark.usefixtures("system")
def test_a_tag_works_alone_without_facts_of_earlier_runs() -> None:
    one_tier = control.play("site.yml", "--tags", "registry", "--flush-cache", seconds=600)
    assert one_tier.status == 0, one_tier.output
    assert one_tier.changed == []
    assert any("registry" in task.name for task in one_tier.tasks)


@pytest.mark.usefixtures("system")
def test_another_control_node_makes_no_ca_of_its_own(tmp_path: Path) -> None:
    refused = control.play("site.yml", "--tags", "always", "--extra-vars", f"tls_folder={tmp_path}", seconds=600)
    assert refused.status != 0
    assert "another control node deployed it" in " ".join(refused.output.split())
    assert list(tmp_path.iterdir()) == []
