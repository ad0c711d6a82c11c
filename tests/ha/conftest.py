"""The machines of inventory/ha, deployed to once. Only LXC can cut their power.

They are destroyed at the end, unless they existed before.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deployment import control
from tests.deployment.conftest import say
from tests.ha.power import Machines

__all__ = ["machines", "say", "system"]
Say = Callable[[str], None]


@pytest.fixture(scope="session")
def machines(say: Say) -> Iterator[Machines]:
    """The machines, up."""
    there = Machines.of("ha")
    existed = control.created_machines("ha")
    try:
        seconds = there.create()
        say(f"vagrant up: {seconds:.0f} s")
        yield there
    finally:
        if not existed:
            there.destroy()


@pytest.fixture(scope="session")
def system(machines: Machines, say: Say) -> Iterator[Machines]:
    """The machines, with the whole system running on them."""
    done = control.play("site.yml", inventory=Path("inventory/ha"), seconds=2_400)
    assert done.status == 0, done.output
    say(f"site.yml: {done.summary}")
    with control.trusted("ha"):
        yield machines
