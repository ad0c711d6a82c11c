"""Runs HAProxy as its role configures it, on free ports of this machine."""

import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from emostream_lab.machine.bootstrap import HAPROXY
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST, free_port
from emostream_lab.roles import defaults, rendered


@dataclass(frozen=True)
class Proxy:
    """A running HAProxy: the folder of its certificate, its runtime socket, and where it listens."""

    folder: Path
    socket: Path
    https_port: int
    http_port: int
    process: Process

    @property
    def certificate_file(self) -> Path:
        return self.folder / "viewers.pem"


@contextmanager
def proxy(
    folder: Path, *, has_tls: bool = True, replacing: Mapping[str, str] = MappingProxyType({}), **variables: object
) -> Iterator[Proxy]:
    """Run HAProxy with these variables of the role. With TLS, its certificate is in the folder, as `viewers.pem`.

    `replacing` maps parts of the configuration to others, such as time-outs that no test can wait for.
    """
    https_port, http_port = free_port(), free_port()
    configuration = rendered(
        "haproxy/templates/haproxy.cfg.j2",
        **{
            **defaults("haproxy"),
            "haproxy_certificate_file": "viewers.pem" if has_tls else "",
            "haproxy_https_port": https_port,
            "haproxy_http_port": http_port,
            **variables,
        },
    )
    if missing := [old for old in replacing if old not in configuration]:
        raise ValueError(f"the role's haproxy.cfg does not contain {missing}")
    folder = folder.absolute()
    own = folder / f"haproxy-{https_port}"
    # In the folder of a test, the path of a socket may be longer than the 97 characters that HAProxy takes.
    with tempfile.TemporaryDirectory(prefix="haproxy-") as run:
        for old, new in {"/etc/haproxy": str(folder), "/run/haproxy": run, **replacing}.items():
            configuration = configuration.replace(old, new)
        process = Process(
            "haproxy",
            [HAPROXY, "-db", "-f", str(own / "haproxy.cfg")],
            files={own / "haproxy.cfg": configuration},
            log_file=own / "haproxy.log",
            probe=lambda: accepts(https_port if has_tls else http_port),
        )
        process.start()
        try:
            process.wait_ready(30)
            yield Proxy(folder, Path(run) / "runtime.sock", https_port, http_port, process)
        finally:
            process.stop()


def accepts(port: int) -> bool:
    """Return whether something listens there. Raises OSError if not."""
    with socket.create_connection((HOST, port), timeout=10):
        return True
