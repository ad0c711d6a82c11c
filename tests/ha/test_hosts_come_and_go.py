"""Removes, adds and replaces hosts under load. No reaction is lost or doubled, and no unit of another host restarts."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from tests.deployment import control
from tests.deployment.conftest import Say
from tests.ha.audience import URL, Audience
from tests.ha.power import Machines
from tests.integration.viewers import wait_until

INVENTORY = Path("inventory/ha")
_PLAY_SECONDS = 2_400
_SYNC_SECONDS = 300
# Whatever happens, each way goes on within this time.
_STILL_SECONDS = 30


def _without(host: str, folder: Path) -> Path:
    """A copy of inventory/ha below this folder, from which a host was taken out."""
    inventory = folder / INVENTORY
    shutil.copytree(control.REPOSITORY / INVENTORY, inventory)
    # Vagrant's keys are found from there.
    (folder / ".vagrant").symlink_to(control.REPOSITORY / ".vagrant")
    content = yaml.safe_load((inventory / "hosts.yml").read_text())
    del content["all"]["hosts"][host]
    for group in content["all"]["children"].values():
        group["hosts"].pop(host, None)
    (inventory / "hosts.yml").write_text(yaml.safe_dump(content))
    return inventory


async def _play(playbook: str, *arguments: str, inventory: Path = INVENTORY) -> None:
    done = await asyncio.to_thread(control.play, playbook, *arguments, inventory=inventory, seconds=_PLAY_SECONDS)
    assert done.status == 0, done.output


@pytest.mark.timeout(0)
def test_hosts_come_and_go(system: Machines, say: Say, tmp_path: Path) -> None:
    """A host of subscribers leaves and comes back, and bare machines replace a broker's and a ZooKeeper's."""
    audience = Audience(URL)

    async def alone(what: str, host: str, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step that concerns one host, and check that no unit of another one starts."""
        others = [name for name in system.by_name if name != host]
        before = await asyncio.to_thread(system.starts, others)
        since = time.monotonic()
        await step()
        still = audience.stillness(since)
        say(f"{what}, {host}: {time.monotonic() - since:.0f} s; {still}; {audience.summary()}")
        assert await asyncio.to_thread(system.starts, others) == before
        assert max(still.reactions_seconds, *still.swarms_seconds, still.assignments_seconds) <= _STILL_SECONDS

    async def remove() -> None:
        await _play("playbooks/remove.yml", "-e", "host=ha-edge2")
        left = system.run("ha-edge2", "ls -d /opt/emostream /etc/emostream 2>/dev/null; nft list tables")
        assert "emostream" not in left
        await _play("site.yml", inventory=_without("ha-edge2", tmp_path))

    async def add() -> None:
        await _play("site.yml")

    def replace(host: str) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            await asyncio.to_thread(system.replace, host)
            await _play("site.yml")
            await asyncio.to_thread(wait_until, lambda: not system.under_replicated(), _SYNC_SECONDS, every_seconds=1)

        return act

    async def scenario() -> None:
        async with audience.attending():
            await alone("removed", "ha-edge2", remove)
            await alone("added", "ha-edge2", add)
            await alone("replaced by a bare machine", "ha-kafka3", replace("ha-kafka3"))
            await alone("replaced by a bare machine", "ha-zookeeper2", replace("ha-zookeeper2"))

    asyncio.run(scenario())
    assert audience.problems() == []
