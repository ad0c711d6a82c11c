"""The playbooks beside site.yml. Teardown is last, because it removes everything from the hosts."""

import pytest

from tests.deployment import control
from tests.deployment.hosts import UNITS, Hosts

pytestmark = pytest.mark.usefixtures("system")

LOGS = control.REPOSITORY / "build" / "logs"


def test_restart_needs_to_know_the_tier() -> None:
    refused = control.play("playbooks/restart.yml", seconds=120)
    assert refused.status == 2, refused.output
    assert "Say which tier: -e tier=NAME, one of" in refused.output


def test_every_other_tier_restarts() -> None:
    for tier in ("gateway", "ingest", "registry", "publisher", "audit", "aggregator"):
        restarted = control.play("playbooks/restart.yml", "--extra-vars", f"tier={tier}", seconds=600)
        assert restarted.status == 0, restarted.output
    verified = control.play("playbooks/verify.yml", seconds=600)
    assert verified.status == 0, verified.output


def test_logs_are_collected_from_every_host() -> None:
    collected = control.play("playbooks/collect_logs.yml", seconds=300)
    assert collected.status == 0, collected.output
    for unit in UNITS:
        assert f"{unit.name}[" in (LOGS / f"{unit.host}.log").read_text()


def test_a_teardown_is_confirmed_first() -> None:
    refused = control.play("playbooks/teardown.yml", seconds=120)
    assert refused.status == 2, refused.output
    assert "add -e confirm=yes if you mean it" in " ".join(refused.output.split())


def test_a_teardown_leaves_nothing_behind(system: Hosts) -> None:
    done = control.play("playbooks/teardown.yml", "--extra-vars", "confirm=yes", seconds=600)
    assert done.status == 0, done.output
    find = "find /etc/systemd/system /etc/emostream /opt/emostream /var/lib -maxdepth 2 -name '*emostream*'"
    left = system.on_each(lambda _, host: host.run(find).stdout.split())
    assert not any(left.values()), left
    listed = "systemctl list-units --plain --no-legend 'emostream-*' 'spark-*' kafka.service zookeeper.service"
    running = system.on_each(lambda _, host: host.check_output(listed).splitlines())
    assert not any(running.values()), running
