"""The hosts of an inventory as machines with a power cord. On LXC alone."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.deployment import control
from tests.integration.viewers import wait_until

_UP_SECONDS = 600
# As patterns of systemctl. A pattern without a unit shows nothing.
_UNITS = "'emostream-*.service' 'kafka*' 'zookeeper*' 'spark-*' 'haproxy*' 'keepalived*'"
# As a broker, which may do everything in Kafka.
_IDENTITY = "EMOSTREAM_TLS_CA_FILE=/etc/emostream/ca.pem EMOSTREAM_TLS_IDENTITY_FILE=/etc/emostream/kafka.pem"
_LACKING = """
import contextlib, sys
sys.path.append("/etc/emostream")
import broker
for host in sys.argv[1:]:
    with contextlib.suppress(OSError):
        print(len(broker.metadata(host, 9092).lacking()))
        break
"""


@dataclass(frozen=True)
class Machines:
    """The machines of a folder of inventory/, by name."""

    inventory: str
    by_name: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, inventory: str) -> "Machines":
        return cls(inventory, control.machines(inventory))

    def create(self) -> float:
        """Make all machines, and return the seconds that it took."""
        started = time.monotonic()
        self._vagrant("up", seconds=1_800)
        return time.monotonic() - started

    def destroy(self) -> None:
        self._vagrant("destroy", "--force", seconds=600)

    def cut_power(self, host: str) -> None:
        """End all processes of a host at once. Nothing leaves it any more, not even the end of a connection."""
        control.succeed(["lxc-stop", "--kill", "--name", host], seconds=60)

    def power_on(self, host: str) -> None:
        """Start a host, and return when all its units are ready."""
        control.succeed(["lxc-start", "--name", host], seconds=60)
        ask = ["lxc-attach", "--name", host, "--", "systemctl", "is-system-running", "--wait"]
        # At first systemd does not answer.
        wait_until(
            lambda: control.run(ask, seconds=_UP_SECONDS).stdout.strip() in {"running", "degraded"},
            _UP_SECONDS,
            every_seconds=1,
        )
        failed = self.run(host, "systemctl list-units --failed --plain --no-legend '*emostream*' 'kafka*' 'zookeeper*'")
        assert not failed, f"{host}: {failed}"

    def replace(self, host: str) -> None:
        """Cut the power of a host, and put a bare machine at its name and address."""
        self.cut_power(host)
        self._vagrant("destroy", "--force", host, seconds=300)
        self._vagrant("up", host, seconds=600)

    def starts(self, hosts: Iterable[str]) -> dict[tuple[str, str], str]:
        """A token of the last start of each of our units, by host and unit. Another start has another token."""
        there = {}
        for host in hosts:
            for block in self.run(host, f"systemctl show --property=Id,InvocationID {_UNITS}").split("\n\n"):
                shown = dict(line.split("=", 1) for line in block.splitlines())
                if shown:
                    there[host, shown["Id"]] = shown["InvocationID"]
        return there

    def address(self, host: str) -> str:
        return str(self.by_name[host]["ansible_host"])

    def under_replicated(self) -> int:
        """How many partitions lack a replica, as any broker tells."""
        hosts = control.hosts_of(self.inventory, "kafka")
        brokers = " ".join(self.address(host) for host in hosts)
        return int(self.run(hosts[0], f"{_IDENTITY} python3 -c '{_LACKING}' {brokers}"))

    def run(self, host: str, command: str) -> str:
        """The output of a shell command that succeeds on a host, as root."""
        return control.succeed(["lxc-attach", "--name", host, "--", "bash", "-c", command], seconds=120).strip()

    def _vagrant(self, *arguments: str, seconds: float) -> None:
        environment = {"EMOSTREAM_INVENTORY": self.inventory}
        control.succeed(["vagrant", *arguments], seconds=seconds, environment=environment)
