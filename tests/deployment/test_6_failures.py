"""What dies comes back by itself; what cannot be done stops a playbook, which says why, and the next run finishes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import control
from tests.deployment.conftest import Say
from tests.deployment.hosts import UNITS, Hosts, Unit
from tests.integration.viewers import wait_until

pytestmark = pytest.mark.usefixtures("system")

ARTIFACTS = control.REPOSITORY / "build" / "artifacts"


def _verify() -> None:
    verified = control.play("playbooks/verify.yml", seconds=600)
    assert verified.status == 0, verified.output


def _main_pid(hosts: Hosts, unit: Unit) -> str:
    """The main process of a unit that is ready; empty while it is not."""
    shown = hosts[unit.host].check_output(f"systemctl show --property ActiveState,MainPID --value {unit.name}")
    lines = shown.split()
    return next(line for line in lines if line.isdigit()) if "active" in lines else ""


def test_all_units_come_back_when_all_are_killed_at_once(system: Hosts, say: Say) -> None:
    before = {unit: _main_pid(system, unit) for unit in UNITS}
    assert all(before.values()), before
    names = {host: " ".join(unit.name for unit in UNITS if unit.host == host) for host in system}
    started = time.monotonic()
    system.on_each(lambda name, host: names[name] and host.check_output(f"systemctl kill --signal KILL {names[name]}"))
    for unit in UNITS:
        wait_until(lambda unit=unit: _main_pid(system, unit) not in {"", before[unit]}, 300, lambda unit=unit: unit)
    say(f"all units killed: back after {time.monotonic() - started:.0f} s")
    _verify()


def test_the_system_comes_back_when_all_hosts_reboot_at_once(system: Hosts, say: Say) -> None:
    # A file in memory is gone after a reboot.
    mark = "/run/before-the-reboot"
    system.on_each(lambda _, host: host.check_output(f"touch {mark}"))
    started = time.monotonic()
    system.on_each(lambda _, host: host.check_output("systemd-run --no-block --on-active=1 systemctl reboot"))

    def has_rebooted(name: str) -> bool:
        try:
            return system[name].run(f"test -e {mark}").rc == 1
        except RuntimeError:
            # It cannot be reached now.
            return False

    for name in system:
        wait_until(lambda name=name: has_rebooted(name), 300, lambda name=name: f"{name} did not come back")
    for unit in UNITS:
        wait_until(lambda unit=unit: _main_pid(system, unit), 300, lambda unit=unit: unit)
    say(f"all hosts rebooted: back after {time.monotonic() - started:.0f} s")
    _verify()
    again = control.play("site.yml", seconds=1_200)
    assert again.status == 0, again.output
    assert again.changed == []


@pytest.fixture
def damaged_archive() -> Iterator[Path]:
    """An archive of the control node with a byte too many."""
    path = next(ARTIFACTS.glob("app-*.tar"))
    size = path.stat().st_size
    with path.open("ab") as archive:
        archive.write(b"!")
    yield path
    with path.open("ab") as archive:
        archive.truncate(size)


def test_an_archive_of_the_wrong_sum_goes_to_no_host(damaged_archive: Path) -> None:
    refused = control.play("site.yml", seconds=600)
    assert refused.status == 2, refused.output
    assert f"{damaged_archive.name} in {ARTIFACTS} changed since made" in refused.output
    assert "Prepare the hosts" not in refused.output


def test_a_unit_that_does_not_come_up_stops_the_run_and_the_next_run_finishes() -> None:
    # sshd has this port.
    taken = json.dumps({"emostream_settings": {"EMOSTREAM_REGISTRY_PORT": "22"}})
    stopped = control.play("playbooks/registry.yml", "--extra-vars", taken, seconds=600)
    assert stopped.status == 2, stopped.output
    output = " ".join(stopped.output.split())
    assert "emostream-registry on registry1" in output
    assert "The end of its journal:" in output
    assert "EMOSTREAM_REGISTRY_PORT" in output
    finished = control.play("site.yml", seconds=1_200)
    assert finished.status == 0, finished.output
    assert all("registry1" in name for name in finished.changed), finished.changed
