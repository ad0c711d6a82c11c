"""The machines of inventory/ha: created, deployed to once, and destroyed at the end. Only LXC can cut their power."""

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
    """The machines, up and bare."""
    there = Machines.of("ha")
    try:
        seconds = there.create()
        say(f"vagrant up: {seconds:.0f} s")
        yield there
    finally:
        there.destroy()


@pytest.fixture(scope="session")
def system(machines: Machines, say: Say) -> Iterator[Machines]:
    """The machines, with the whole system running on them."""
    done = control.play("site.yml", inventory=Path("inventory/ha"), seconds=2_400)
    assert done.status == 0, done.output
    say(f"site.yml on bare hosts: {done.summary}")
    with control.trusted("ha"):
        yield machines
