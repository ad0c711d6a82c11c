"""Each tier is a unit that is ready, sandboxed, and within the memory of its machine."""

import json
import re
import shlex

import pytest

from tests.deployment.hosts import EDGES, MACHINES, UNITS, Hosts, Unit

pytestmark = pytest.mark.quick

every_unit = pytest.mark.parametrize("unit", UNITS, ids=str)
PYTHON_TIERS = [unit for unit in UNITS if unit.port]


def test_all_units_are_ready(system: Hosts) -> None:
    assert system.lacking() == []


@every_unit
def test_it_starts_at_boot(system: Hosts, unit: Unit) -> None:
    assert system[unit.host].service(unit.name).is_enabled


@every_unit
def test_it_has_a_user_and_a_state_of_its_own(system: Hosts, unit: Unit) -> None:
    host = system[unit.host]
    pid = host.check_output(f"systemctl show --property MainPID --value {unit.name}")
    # The user id, because the name of a dynamic user is gone with its unit.
    user = int(host.check_output(f"stat --format %u /proc/{pid}"))
    assert 61_184 <= user <= 65_519, "it is not of systemd's range for users that exist while a unit runs"
    assert int(host.check_output(f"stat --dereference --format %u /var/lib/{unit.name}")) == user


@every_unit
def test_it_may_do_little_else_than_its_work(system: Hosts, unit: Unit) -> None:
    most = 3.0 if unit.is_java else 2.0
    judged = system[unit.host].run(
        f"systemd-analyze security --no-pager --threshold={most * 10:.0f} {unit.name}.service"
    )
    assert judged.rc == 0, judged.stdout


@pytest.mark.parametrize("unit", PYTHON_TIERS, ids=str)
def test_it_logs_json(system: Hosts, unit: Unit) -> None:
    host = system[unit.host]
    # Only lines of the service itself, because the check of the settings before it prints text.
    pid = host.check_output(f"systemctl show --property MainPID --value {unit.name}")
    log = host.check_output(f"journalctl _PID={pid} --identifier {unit.name} --output cat --no-pager")
    assert log
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


@pytest.mark.parametrize("name", ["gateway1", *EDGES])
def test_haproxy_runs_in_a_sandbox_and_starts_at_boot(system: Hosts, name: str) -> None:
    haproxy = system[name].service("haproxy")
    assert haproxy.is_running
    assert haproxy.is_enabled
    judged = system[name].run("systemd-analyze security --no-pager --threshold=30 haproxy.service")
    assert judged.rc == 0, judged.stdout
    users = system[name].check_output("ps -o user= -C haproxy").split()
    assert set(users) == {"haproxy"}


def test_only_sparks_hosts_have_spark(system: Hosts) -> None:
    have = system.on_each(lambda _, host: bool(host.run("test -e /opt/emostream/spark").rc == 0))
    assert {name for name, has_spark in have.items() if has_spark} == {"spark-master1", "spark-worker1"}


def test_each_host_uses_less_memory_than_its_machine_has(system: Hosts) -> None:
    # Shared pages count once, because each process counts its proportional share.
    command = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ { sum += $2 } END { print int(sum / 1024) }'"
    used_mib = system.on_each(lambda _, host: int(host.check_output(f"sh -c {shlex.quote(command)}")))
    assert all(used_mib[name] <= machine["memory_mib"] for name, machine in MACHINES.items()), used_mib


def test_heaps_are_half_of_their_machines_memory(system: Hosts) -> None:
    command = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep '^-Xmx'"
    for name in sorted({unit.host for unit in UNITS if unit.is_java}):
        options = system[name].check_output(f"sh -c {json.dumps(command)}").split()
        heaps_mib = [int(re.fullmatch(r"-Xmx(\d+)[mM]", option)[1]) for option in options]
        memory_mib = MACHINES[name]["memory_mib"]
        assert memory_mib * 0.45 <= sum(heaps_mib) <= memory_mib * 0.5, f"{name}: {heaps_mib}"
