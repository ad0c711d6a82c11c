"""Runs Locust without its web UI, on the running pipeline or on one that it starts: `emostream-lab load`."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from emostream import config
from emostream.client.connection import fetch
from emostream.client.errors import NoAnswerError
from emostream.config import ClientSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream_lab.audience import events
from emostream_lab.demo import exclusive_use
from emostream_lab.display import Display
from emostream_lab.processes import servers, topology
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Ports

_STACK = Path("build/load-stack")
_LOCUSTFILE = Path("locustfile.py")
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class LoadOptions:
    """The options of a load run.

    `workers` is the number of Locust worker processes besides the master. `own` starts a separate pipeline even if one
    is running. `events` counts the events that the audience is spread over, `main` among them. `idle` counts further
    ones that are open and that nobody attends. `share` is the share of `main`, as in `Run`.
    """

    shape: str
    viewers: int
    reactions: int
    seconds: int
    workers: int
    own: bool = False
    events: int = 1
    idle: int = 0
    share: float | None = None


def run(options: LoadOptions, client: ClientSettings) -> int:
    """Run the load and return the exit status: 0 if nothing was lost, doubled or refused.

    Raises EmoStreamError if the run cannot start.
    """
    if not _LOCUSTFILE.exists():
        raise EmoStreamError(f"there is no {_LOCUSTFILE} here: run this from the root of the project.")
    zookeeper, kafka = config.load(ZooKeeperSettings), config.load(KafkaSettings)
    names = events.names("load", options.events + options.idle)
    events.check_room(names, kafka.max_record_bytes)
    if not options.own and _answers(client.registry_url):
        events.open_all(zookeeper, kafka, names)
        try:
            return _drive(options, names[: options.events], _addresses(client), None)
        finally:
            events.close_all(zookeeper, kafka, names)
    tell = Display().tell
    tell(f"Starting a pipeline for this run below {_STACK}.")
    layout = Layout(_STACK, ports=Ports.free(clusters=3, subscribers_per_cluster=3))
    with exclusive_use(layout.directory):
        shutil.rmtree(layout.directory, ignore_errors=True)
        layout.directory.mkdir(parents=True)
        supervisor = Supervisor(topology.parts(layout), layout.directory / "topology.json", tell)
        try:
            supervisor.run_until(supervisor.all_ready)
            supervisor.run_beside(lambda: events.open_all(*topology.operator_settings(layout), names))
            return _drive(options, names[: options.events], topology.environment(layout), supervisor)
        finally:
            supervisor.stop()


def _drive(
    options: LoadOptions, attended: Sequence[str], environment: Mapping[str, str], supervisor: Supervisor | None
) -> int:
    with subprocess.Popen(locust(options, attended), env={**os.environ, **environment}) as running:
        if supervisor is not None:
            supervisor.run_until(lambda: running.poll() is not None)
        return running.wait()


def locust(options: LoadOptions, attended: Sequence[str]) -> list[str]:
    """Return the command that puts the audience on these events, which must be open."""
    # The kernel sends TERM to Locust when this process ends for any reason.
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "--",
        sys.executable,
        "-m",
        "locust",
        "--locustfile",
        str(_LOCUSTFILE),
        "--headless",
        "--only-summary",
    ]
    # Only the workers connect to the master, and they are forked on this machine.
    port = str(servers.free_port())
    command += ["--master-bind-host", servers.HOST, "--master-bind-port", port, "--master-port", port]
    command += ["--processes", str(options.workers), "--shape", options.shape, "--viewers", str(options.viewers)]
    command += ["--reactions", str(options.reactions), "--seconds", str(options.seconds)]
    command += ["--events", ",".join(attended), "--share-of-first", str(options.share or 0)]
    return command


def _addresses(client: ClientSettings) -> dict[str, str]:
    return {ClientSettings.variable(name): str(value) for name, value in client}


def _answers(registry_url: str) -> bool:
    try:
        # This HTTP client never uses a proxy.
        return asyncio.run(fetch(f"{registry_url}/healthz", _ANSWER_SECONDS)).status == HTTPStatus.OK
    except NoAnswerError:
        return False
