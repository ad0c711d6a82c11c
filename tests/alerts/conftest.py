"""Hosts that run EmoStream already: those of inventory/vagrant, or of the inventory that EMOSTREAM_INVENTORY names."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.alerts.alerts import Alerts
from tests.alerts.faults import System
from tests.deployment import control
from tests.deployment.conftest import say
from tests.deployment.hosts import Hosts

__all__ = ["alerts", "say", "system", "table"]
INVENTORY = os.environ.get("EMOSTREAM_INVENTORY", "vagrant")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    machines = control.machines(INVENTORY)
    hosts = Hosts.of_vagrant(tmp_path_factory.mktemp("ssh") / "config", machines)
    with control.trusted(Path(INVENTORY).name):
        yield System(hosts, INVENTORY, machines, control.tokens(Path(INVENTORY).name))


@pytest.fixture(scope="session")
def alerts(system: System) -> Alerts:
    return Alerts(system.prometheus_url)


@pytest.fixture(scope="session")
def table(say: Callable[[str], None]) -> Iterator[list[str]]:
    """The rows of the table of docs/reliability.md, which is printed in the end."""
    rows = ["| fault | alert | fires after | is over after |", "|---|---|---|---|"]
    yield rows
    say("\n".join(rows))
