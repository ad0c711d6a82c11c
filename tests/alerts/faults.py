"""Faults of hosts, each with the alert that it is for. A fault is over at the end of its block."""

import asyncio
import base64
import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testinfra.host import Host

from emostream import model
from emostream.client.reactions import ReactionSender
from emostream.config import SubscriberSettings
from emostream.tokens.own import OwnTokens
from tests.alerts.alerts import Alerts
from tests.deployment import control
from tests.deployment.hosts import Hosts
from tests.integration.viewers import wait_until

_FAULT_SCRIPT = control.REPOSITORY / "playbooks" / "files" / "fault.sh"
# Longer than any alert takes. A host that is cut off is back by itself after this.
_CUT_SECONDS = 180
# The windows of the alerts, and the recovery of the slowest tier.
OVER_SECONDS = 400
_HOLD_SEATS = Path(__file__).parent / "hold_seats.py"
_SCRIPT = "/run/emostream-fault"
_CAPACITY = SubscriberSettings.model_fields["capacity"].default


@dataclass(frozen=True)
class System:
    """Hosts that run EmoStream, by the groups of their inventory."""

    hosts: Hosts
    inventory: str
    machines: Mapping[str, Mapping[str, Any]]
    tokens: OwnTokens

    def group(self, name: str) -> list[str]:
        """The hosts of a group."""
        return control.hosts_of(self.inventory, name)

    def address(self, host: str) -> str:
        return str(self.machines[host]["ansible_host"])

    @property
    def gateway_url(self) -> str:
        """Where viewers react."""
        return f"https://{self.address(self.group('gateway')[0])}"

    @property
    def prometheus_url(self) -> str:
        return f"http://{self.address(self.group('monitoring')[0])}:8020"

    def subscribers(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The host, number and settings of each subscriber."""
        hosts = control.group_of(self.inventory, "subscriber")
        return [
            (host, number, settings)
            for host, values in hosts.items()
            for number, settings in values["subscriber_instances"].items()
        ]


@dataclass(frozen=True)
class Fault:
    """What is done, the alert that must fire within a time, and the alerts that may fire beside it."""

    what: str
    alert: str
    within_seconds: float
    done: Callable[[System], AbstractContextManager[None]]
    also: frozenset[str] = field(default_factory=frozenset)


def stopped(group: str, unit: str, *, on_all: bool = True) -> Callable[[System], AbstractContextManager[None]]:
    """A fault: a unit is stopped on all hosts of a group, or on the last one."""

    @contextmanager
    def fault(system: System) -> Iterator[None]:
        hosts = system.group(group) if on_all else system.group(group)[-1:]
        with contextlib.ExitStack() as restarts:
            for name in hosts:
                host = system.hosts[name]
                # A pattern would match no instance that is stopped.
                listed = host.check_output(f"systemctl list-units --plain --no-legend {shlex.quote(f'{unit}.service')}")
                units = " ".join(line.split()[0] for line in listed.splitlines())
                assert units
                restarts.callback(host.check_output, f"systemctl start {units}")
                host.check_output(f"systemctl stop {shlex.quote(unit)}")
            yield

    return fault


def hanging(group: str, unit: str) -> Callable[[System], AbstractContextManager[None]]:
    """A fault: the processes of a unit do nothing, and do not end."""

    @contextmanager
    def fault(system: System) -> Iterator[None]:
        host = system.hosts[system.group(group)[0]]
        host.check_output(f"systemctl kill --signal STOP {unit}")
        try:
            yield
        finally:
            host.check_output(f"systemctl kill --signal CONT {unit}")

    return fault


@contextmanager
def subscriber_stopped(system: System) -> Iterator[None]:
    """A fault: one subscriber is stopped."""
    host, number, _ = system.subscribers()[-1]
    unit = f"emostream-subscriber@{number}"
    system.hosts[host].check_output(f"systemctl stop {unit}")
    try:
        yield
    finally:
        system.hosts[host].check_output(f"systemctl start {unit}")


@contextmanager
def edge_cut_off(system: System) -> Iterator[None]:
    """A fault: a host of subscribers gets nothing of the cluster's network."""
    name = system.subscribers()[-1][0]
    address = system.address(name)
    undo = f"--property='ExecStopPost=/bin/bash {_SCRIPT} undo inbound {address}'"
    with _running(
        system.hosts[name], _FAULT_SCRIPT, f"/bin/bash {_SCRIPT} begin inbound {address} {_CUT_SECONDS}", undo
    ):
        yield


@contextmanager
def seats_filled(system: System) -> Iterator[None]:
    """A fault: 19 of 20 seats of the smallest cluster are taken. A load generator takes them: it has no limit."""
    members: dict[str, list[tuple[str, int]]] = {}
    for host, number, settings in system.subscribers():
        capacity = settings.get("capacity", _CAPACITY)
        members.setdefault(settings["cluster"], []).append((f"{system.address(host)}/{number}", capacity))
    smallest = min(members.values(), key=lambda subscribers: sum(capacity for _, capacity in subscribers))
    wanted = " ".join(f"{subscriber}:{capacity * 19 // 20}" for subscriber, capacity in smallest)
    token = system.tokens.sign("seats", "watch") or ""
    host = system.hosts[system.group("loadgen")[0]]
    with _running(host, _HOLD_SEATS, f"/usr/bin/python3 {_SCRIPT} {token} {wanted}", "--property=LimitNOFILE=65536"):
        yield


@contextmanager
def _running(host: Host, script: Path, command: str, option: str) -> Iterator[None]:
    """Run a script on a host, which finds it at `_SCRIPT`, until the end of the block."""
    content = base64.b64encode(script.read_bytes()).decode()
    host.check_output(f"sh -c {shlex.quote(f'echo {content} | base64 --decode >{_SCRIPT}')}")
    ends = f"--property=RuntimeMaxSec={2 * _CUT_SECONDS}"
    host.check_output(f"systemd-run --unit=emostream-fault --collect {ends} {option} {command}")
    try:
        yield
    finally:
        host.run("systemctl stop emostream-fault")


@contextmanager
def one_user_floods(system: System) -> Iterator[None]:
    """A fault: one user sends more reactions than a user may."""

    async def react() -> None:
        # Without the right `relay`, the limit of a user holds.
        token = system.tokens.source("flood", "react")
        async with ReactionSender(system.gateway_url, token=token) as sender:
            while True:
                reactions = [model.Reaction("flood", "🔥", time.time_ns() // 1_000_000)] * 10
                await sender.send(reactions)
                await asyncio.sleep(0.1)

    with _in_background(react):
        yield


@contextmanager
def _in_background(work: Callable[[], Any]) -> Iterator[None]:
    """Run a coroutine in a thread, until the end of the block."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        yield
    finally:
        # What failed by itself, before it was cancelled, failed the test.
        failed = task.done() and task.exception()
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
        if failed:
            raise failed


# An hour of the canary has 360 reactions: a minute without sight may use up the budget where the system is young.
_LATE = "LatencyObjectiveMissed"
# Nothing is counted while one of these is away.
_NOTHING_COUNTED = frozenset({"SwarmsStopped", "NoAggregatorLeads", _LATE})

FAULTS = (
    Fault("a subscriber is stopped", "SubscriberGone", 60, subscriber_stopped),
    Fault("a host of subscribers is cut off", "HostDown", 60, edge_cut_off, frozenset({"SubscriberGone", _LATE})),
    Fault("the audit hangs", "TargetDown", 90, hanging("audit", "emostream-audit")),
    Fault(
        "all registries are stopped",
        "GatewayWithoutServers",
        60,
        stopped("registry", "emostream-registry"),
        frozenset({"TargetDown"}),
    ),
    Fault("the canary is stopped", "CanarySilent", 120, stopped("monitoring", "emostream-canary")),
    Fault("19 of 20 seats of a cluster are taken", "SeatsNearlyUsedUp", 120, seats_filled),
    Fault("one user sends more than a user may", "RequestsRefused", 90, one_user_floods),
    Fault(
        "all ingests are stopped",
        "GatewayWithoutServers",
        60,
        stopped("ingest", "emostream-ingest"),
        frozenset({"TargetDown", "CanarySilent"}),
    ),
    Fault(
        "all publishers are stopped",
        "NoPublisherLeads",
        60,
        stopped("publisher", "emostream-publisher@*"),
        frozenset({"TargetDown", _LATE}),
    ),
    Fault(
        "all aggregators are stopped",
        "NoAggregatorLeads",
        60,
        stopped("aggregator", "emostream-aggregator"),
        _NOTHING_COUNTED | {"TargetDown"},
    ),
    Fault(
        "all of Spark's workers are stopped",
        "SwarmsStopped",
        120,
        stopped("spark_worker", "spark-worker"),
        _NOTHING_COUNTED | {"TargetDown"},
    ),
    Fault(
        "a ZooKeeper is stopped",
        "ZooKeeperMissing",
        60,
        stopped("zookeeper", "zookeeper", on_all=False),
        # Of a single one, all wait.
        _NOTHING_COUNTED | {"TargetDown", "CanarySilent", "NoPublisherLeads", "PartitionsOffline"},
    ),
)
ONE_BROKER = Fault(
    "the only broker is stopped",
    "CanarySilent",
    150,
    stopped("kafka", "kafka"),
    _NOTHING_COUNTED | {"TargetDown", "NoPublisherLeads", "SubscriberGone", "RequestsRefused", "GatewayWithoutServers"},
)
ONE_OF_SEVERAL_BROKERS = Fault(
    "one of several brokers is stopped",
    "PartitionsUnderReplicated",
    180,
    stopped("kafka", "kafka", on_all=False),
    frozenset({"TargetDown"}),
)


def row_of(fault: Fault, system: System, alerts: Alerts) -> str:
    """Make a fault, see its alert fire and end, and return what was seen as a row of the table."""
    wait_until(lambda: not alerts.names(), OVER_SECONDS, alerts.firing, every_seconds=1)
    with alerts.noted() as seen:
        began = time.monotonic()
        with fault.done(system):
            wait_until(lambda: fault.alert in seen, fault.within_seconds, lambda: f"{fault.what}: {sorted(seen)}")
        ended = time.monotonic()
        wait_until(lambda: not alerts.names(), OVER_SECONDS, alerts.firing, every_seconds=1)
        over = time.monotonic()
    assert set(seen) <= {fault.alert} | fault.also, f"{fault.what}: {sorted(seen)}"
    beside = sorted(set(seen) - {fault.alert})
    named = f"`{fault.alert}`" + (f" (and {', '.join(f'`{name}`' for name in beside)})" if beside else "")
    return f"| {fault.what} | {named} | {seen[fault.alert] - began:.0f} s | {over - ended:.0f} s |"
