"""Machines whose power a test can cut: network namespaces on one switch.

Each namespace belongs to a process that dies with the test's, and vanishes with it. So nothing is left behind, even
after a SIGKILL.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_NETWORK = "198.18.77"
_OWN_NAMESPACE = Path("/proc/self/ns/net")


class Machine:
    """A machine with one address. `command` runs a program on it."""

    def __init__(self, number: int, holder: "_Holder", switch: "_Holder") -> None:
        self.address = f"{_NETWORK}.{number}"
        self._holder = holder
        self._switch = switch
        self._port = f"port{number}"
        switch.ip(f"link add {self._port} type veth peer name eth0 address {_mac(number)} netns {holder.pid}")
        switch.ip(f"link set {self._port} master switch up")
        holder.ip("link set lo up")
        holder.ip(f"addr add {self.address}/24 dev eth0")
        holder.ip("link set eth0 up")

    @property
    def command(self) -> Sequence[str]:
        return self._holder.command

    def unplug(self) -> None:
        """From now on it answers nothing, and nobody is told."""
        self._switch.ip(f"link set {self._port} down")

    def plug_in(self) -> None:
        self._switch.ip(f"link set {self._port} up")

    def knows(self, number: int) -> None:
        """Let it send to another machine even if that one does not answer to its address."""
        self._holder.ip(_neighbour(number, "eth0"))


class _Holder:
    """A process that holds a network namespace open."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        cleanup.callback(self._process.wait)
        cleanup.callback(self._process.kill)
        namespace = Path(f"/proc/{self.pid}/ns/net")
        while namespace.readlink() == _OWN_NAMESPACE.readlink():
            assert self._process.poll() is None, "`unshare --net` failed: run this test as root"
            time.sleep(0.01)
        self.command = ["nsenter", f"--net={namespace}", "--"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def ip(self, command: str) -> None:
        _ip(command, self.command)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines, which reach each other and this process.

    A machine without power is silent in the worst way: nobody is told that its address is gone, as it is where a
    router is in between.
    """
    numbers = range(2, count + 2)
    with ExitStack() as cleanup:
        switch = _Holder(cleanup)
        switch.ip("link add switch type bridge")
        switch.ip("link set switch up")
        made = [Machine(number, _Holder(cleanup), switch) for number in numbers]
        own = f"emostream{os.getpid()}"
        switch.ip(f"link add port1 type veth peer name {own} address {_mac(1)} netns {os.getpid()}")
        switch.ip("link set port1 master switch up")
        _ip(f"addr add {_NETWORK}.1/24 dev {own}")
        _ip(f"link set {own} up")
        for number in numbers:
            _ip(_neighbour(number, own))
            for machine in made:
                machine.knows(number)
        yield made


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def _neighbour(number: int, device: str) -> str:
    return f"neigh replace {_NETWORK}.{number} lladdr {_mac(number)} dev {device}"


def _ip(command: str, within: Sequence[str] = ()) -> None:
    subprocess.run([*within, "ip", *command.split()], check=True)
