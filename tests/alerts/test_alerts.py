"""Each fault fires the alert that it is for, within its time, and no other; and a system that is well fires none.

Alerts of the clock, of disks and of memory are proved by promtool alone (tests/integration/alerts.yml), because LXC
hosts share these figures with their machine. So are those of lost and doubled reactions, of a certificate that expires,
of the latency's budget, and of offline partitions.
"""

import time

import pytest

from tests.alerts.alerts import Alerts
from tests.alerts.faults import FAULTS, ONE_BROKER, ONE_OF_SEVERAL_BROKERS, OVER_SECONDS, Fault, System, row_of
from tests.deployment import control
from tests.integration.viewers import wait_until

_QUIET_SECONDS = 15 * 60
_RESTARTED = ("zookeeper", "kafka", "spark", "aggregator", "ingest", "registry", "publisher", "subscriber", "audit")


def test_a_system_that_is_well_fires_no_alert(alerts: Alerts) -> None:
    wait_until(lambda: not alerts.names(), OVER_SECONDS, alerts.firing, every_seconds=1)
    with alerts.noted() as seen:
        time.sleep(_QUIET_SECONDS)
    assert seen == {}


def test_a_rolling_restart_fires_no_alert(system: System, alerts: Alerts) -> None:
    """Tier by tier, each once the canary sees its reactions again: what has one process stands still meanwhile."""
    wait_until(lambda: not alerts.names(), OVER_SECONDS, alerts.firing, every_seconds=1)
    with alerts.noted() as seen:
        for tier in (*_RESTARTED, "gateway", "monitoring", "node"):
            restarted = control.play(
                "playbooks/restart.yml",
                *("--extra-vars", f"tier={tier}"),
                inventory=control.INVENTORIES / system.inventory,
                seconds=900,
            )
            assert restarted.status == 0, restarted.output
            before = alerts.sights()
            wait_until(lambda before=before: alerts.sights() != before, OVER_SECONDS, every_seconds=1)
            assert not seen, f"{sorted(seen)} when {tier} restarted"
        # What the last one would fire.
        time.sleep(60)
    assert seen == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_fires_its_alert_and_no_other(fault: Fault, system: System, alerts: Alerts, table: list[str]) -> None:
    table.append(row_of(fault, system, alerts))


def test_a_broker_that_is_stopped_fires_its_alert(system: System, alerts: Alerts, table: list[str]) -> None:
    fault = ONE_BROKER if len(system.group("kafka")) == 1 else ONE_OF_SEVERAL_BROKERS
    table.append(row_of(fault, system, alerts))
