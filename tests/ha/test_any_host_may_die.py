"""Cuts the power of hosts under load. No reaction is lost or doubled, and each tier is back within its time."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from emostream.operate import status
from tests.deployment import control
from tests.deployment.conftest import Say
from tests.ha.audience import URL, Audience, Stillness, until
from tests.ha.power import Machines
from tests.integration.viewers import wait_until

ROUNDS = 3
# After the power is cut, all flows again within this time, or the run ends.
_AGAIN_SECONDS = 180
# A swarm comes every 2 s.
_FLOWING_SECONDS = 5
# A second stillness, as when a session of the dead host ends, would come within this time.
_CALM_SECONDS = 20


@dataclass
class Tier:
    """What dies, and the seconds that may pass in each way, `(median, worst)`: reactions, swarms, assignments.

    `choose` names the host of a round (0, 1, 2).
    """

    name: str
    choose: Callable[[Machines, int], str]
    reactions: tuple[float, float]
    swarms: tuple[float, float]
    assignments: tuple[float, float] = (10, 15)
    seen: list[Stillness] = field(default_factory=list)

    def row(self) -> str:
        """A line of the table: median and worst of each way."""
        cells = [f"{statistics.median(each):5.1f} / {max(each):4.1f}" for each in self._ways()]
        return f"{self.name:24s} {'   '.join(cells)}"

    def misses(self) -> list[str]:
        """Which bounds are missed."""
        bounds = (self.reactions, self.swarms, self.assignments)
        names = ("reactions", "swarms", "assignments")
        return [
            f"{self.name}: {name} still for {statistics.median(way):.1f} / {max(way):.1f} s, not {median} / {worst} s"
            for name, way, (median, worst) in zip(names, self._ways(), bounds, strict=True)
            if statistics.median(way) > median or max(way) > worst
        ]

    def _ways(self) -> list[list[float]]:
        return [
            [each.reactions_seconds for each in self.seen],
            [seconds for each in self.seen for seconds in each.swarms_seconds],
            [each.assignments_seconds for each in self.seen],
        ]


def _in_turn(*hosts: str) -> Callable[[Machines, int], str]:
    return lambda _, number: hosts[number % len(hosts)]


def _leading_zookeeper(machines: Machines, _: int) -> str:
    def leads(host: str) -> bool:
        files = "-CAfile /etc/emostream/ca.pem -cert /etc/emostream/zookeeper.pem -key /etc/emostream/zookeeper.pem"
        ask = f"echo srvr | openssl s_client -quiet {files} {machines.address(host)}:2181 2>/dev/null"
        return "Mode: leader" in machines.run(host, ask)

    return next(host for host in ("ha-zookeeper1", "ha-zookeeper2", "ha-zookeeper3") if leads(host))


def _leading_aggregator(machines: Machines, _: int) -> str:
    url, context = f"https://{machines.address('ha-front1')}:8011", control.operator_context(machines.inventory)
    services = asyncio.run(status.fetch(url, context=context)).services
    [url] = [each.url for each in services if each.tier == "aggregator" and each.leader]
    return next(host for host in machines.by_name if f"//{machines.address(host)}:" in (url or ""))


def _host_of_virtual_address(machines: Machines, _: int) -> str:
    fronts = ("ha-front1", "ha-front2")
    return next(host for host in fronts if "192.168.60.90/" in machines.run(host, "ip -oneline address"))


TIERS = [
    Tier("ZooKeeper, in turn", _in_turn("ha-zookeeper1", "ha-zookeeper2", "ha-zookeeper3"), (10, 15), (15, 25)),
    Tier("ZooKeeper, the leader", _leading_zookeeper, (10, 15), (15, 25)),
    Tier("broker", _in_turn("ha-kafka1", "ha-kafka2", "ha-kafka3"), (10, 15), (15, 25)),
    Tier("master and aggregator", _leading_aggregator, (10, 15), (20, 30)),
    Tier("Spark worker", _in_turn("ha-spark-worker1", "ha-spark-worker2"), (10, 15), (45, 45)),
    Tier("gateway, ingest, registry", _host_of_virtual_address, (10, 15), (10, 15), (5, 5)),
    Tier("subscribers", _in_turn("ha-edge1", "ha-edge2"), (10, 15), (10, 15)),
]


@pytest.mark.timeout(0)
def test_any_host_may_die(system: Machines, say: Say) -> None:
    """Each tier loses a host three times. The table shows how long each way stood still: median / worst seconds."""
    audience = Audience(URL)

    async def scenario() -> None:
        async with audience.attending():
            for number in range(ROUNDS):
                for tier in TIERS:
                    host = await asyncio.to_thread(tier.choose, system, number)
                    tier.seen.append(await _die(audience, system, host))
                    say(f"round {number + 1}, {tier.name}, {host}: {tier.seen[-1]}; {audience.summary()}")

    asyncio.run(scenario())
    say(f"{'':24s} {'reactions':14s} {'swarms':14s} assignments")
    for tier in TIERS:
        say(tier.row())
    assert audience.problems() == []
    assert [miss for tier in TIERS for miss in tier.misses()] == []


async def _die(audience: Audience, machines: Machines, host: str) -> Stillness:
    """Cut the power of a host, see all flow again, and start the host again. Returns what stood still meanwhile."""
    since, orphans = time.monotonic(), audience.watching(host)
    await asyncio.to_thread(machines.cut_power, host)
    await asyncio.sleep(_CALM_SECONDS)
    await until(lambda: audience.flows(time.monotonic() - _FLOWING_SECONDS), _AGAIN_SECONDS)
    await asyncio.sleep(_CALM_SECONDS)
    stood_still = audience.stillness(since, orphans)
    await asyncio.to_thread(machines.power_on, host)
    await asyncio.to_thread(wait_until, lambda: not machines.under_replicated(), _AGAIN_SECONDS, every_seconds=1)
    return stood_still
