"""The hosts as testinfra sees them, and what should run on each: independent of the inventory."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import testinfra

from tests.deployment import control

# Asks systemd about each unit in its argument, and the service itself if it has a port.
_LOOK = """
import json, ssl, subprocess, sys, urllib.request
def look(name, url):
    show = ["systemctl", "show", "--property", "ActiveState", "--property", "MainPID", name]
    shown = dict(line.split("=") for line in subprocess.check_output(show, text=True).split())
    lacks = "" if shown["ActiveState"] == "active" else "active"
    if url and not lacks:
        try:
            # A host without such a unit has no certificate.
            context = ssl.create_default_context(cafile="/etc/emostream/ca.pem")
            context.load_cert_chain(f"/etc/emostream/{name}.pem")
            urllib.request.urlopen(url, timeout=10, context=context)
        except OSError as error:
            lacks = f"ready: {error}"
    return int(shown["MainPID"]), lacks
print(json.dumps([look(*unit) for unit in json.loads(sys.argv[1])]))
"""
_Answer = TypeVar("_Answer")
Host = Any
"""A testinfra host, which is published without types."""

MACHINES = control.machines("vagrant")
GATEWAY_URL = f"https://{MACHINES['gateway1']['ansible_host']}"
EDGES = ("edge1", "edge2", "edge3")


@dataclass(frozen=True)
class Unit:
    """A unit on a host: whether it is a JVM, and the port of its admin listener (0 if it has none)."""

    host: str
    name: str
    is_java: bool = False
    port: int = 0

    def __str__(self) -> str:
        return f"{self.host}:{self.name}"

    @property
    def probe(self) -> str:
        """The address that answers 200 when the service is ready; empty if it has no admin listener."""
        return f"https://{MACHINES[self.host]['ansible_host']}:{self.port}/readyz" if self.port else ""


@dataclass(frozen=True)
class Status:
    """The state of a unit: its main process (0 if none), and whether it is not active, or not ready and why."""

    pid: int
    lacks: str


UNITS = (
    Unit("zookeeper1", "zookeeper", is_java=True),
    Unit("kafka1", "kafka", is_java=True),
    Unit("spark-master1", "spark-master", is_java=True),
    Unit("spark-worker1", "spark-worker", is_java=True),
    Unit("spark-master1", "emostream-aggregator", is_java=True, port=8002),
    Unit("ingest1", "emostream-ingest", port=8010),
    Unit("registry1", "emostream-registry", port=8011),
    *(Unit("publisher1", f"emostream-publisher@cluster{n}", port=8100 + n) for n in (1, 2, 3)),
    Unit("publisher1", "emostream-audit", port=8003),
    *(Unit(edge, f"emostream-subscriber@{n}", port=10000 + n) for edge in EDGES for n in (1, 2, 3)),
    Unit("loadgen1", "emostream-locust"),
    *(Unit("loadgen1", f"emostream-locust-worker@{n}") for n in (1, 2)),
    Unit("monitoring1", "emostream-canary", port=8004),
    Unit("monitoring1", "emostream-prometheus"),
    Unit("monitoring1", "emostream-alertmanager"),
    *(Unit(machine, "emostream-node-exporter") for machine in MACHINES),
)


@dataclass(frozen=True)
class Hosts:
    """All hosts, by name. Commands run as root."""

    by_name: Mapping[str, Host]

    @classmethod
    def of_vagrant(cls, ssh_config: Path, machines: Iterable[str] = tuple(MACHINES)) -> "Hosts":
        """The machines that Vagrant made. Writes the ssh configuration by which they are reached."""
        ssh_config.write_text(control.succeed(["vagrant", "ssh-config"], seconds=300))
        # Without persistent connections, because these hosts reboot.
        options = f"ssh_config={ssh_config}&sudo=true&controlpersist=0"
        return cls({name: testinfra.get_host(f"ssh://{name}?{options}") for name in machines})

    def __getitem__(self, name: str) -> Host:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def units(self) -> dict[Unit, Status]:
        """The state of each unit. Raises RuntimeError if a host does not answer."""

        def look(name: str, host: Host) -> dict[Unit, Status]:
            units = [unit for unit in UNITS if unit.host == name]
            asked = shlex.quote(json.dumps([(unit.name, unit.probe) for unit in units]))
            answer = host.run(f"python3 -c {shlex.quote(_LOOK)} {asked}")
            if answer.rc != 0:
                raise RuntimeError(f"{name}: {answer.stderr}")
            return {unit: Status(*status) for unit, status in zip(units, json.loads(answer.stdout), strict=True)}

        return {unit: status for found in self.on_each(look).values() for unit, status in found.items()}

    def lacking(self) -> list[str]:
        """The units that are not ready, and why, and the hosts that do not answer."""
        try:
            return [f"{unit} is not {status.lacks}" for unit, status in self.units().items() if status.lacks]
        except RuntimeError as error:
            return [str(error)]

    def on_each(self, ask: Callable[[str, Host], _Answer]) -> dict[str, _Answer]:
        """The answer of each host by name. All are asked at the same time."""
        with ThreadPoolExecutor(len(self.by_name)) as pool:
            return dict(zip(self.by_name, pool.map(ask, self.by_name, self.by_name.values()), strict=True))
