"""The real servers that integration tests share: started on free ports, their logs shown on failure.

What has the scope `session` is started once in each worker of pytest, so no two workers share a server.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from emostream_lab.processes.topology import Layout, Ports
from tests.integration import asking
from tests.pipeline import Pipeline

# The tests talk only to loopback, which no proxy reaches.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"

# No test may depend on the speed of the machine: hypothesis fails an example that takes longer than 200 ms by default.
hypothesis.settings.register_profile("any speed", deadline=None)
hypothesis.settings.load_profile("any speed")

# How many faults `make test-faults` makes. With fewer than all it leaves out tests that take long and seldom fail.
ALL_FAULTS = 25
FAULTS = int(os.environ.get("FAULTS", ALL_FAULTS))
with_all_faults = pytest.mark.skipif(FAULTS < ALL_FAULTS, reason="`make test-faults` without FAULTS runs it")

# The files that start Spark. Those of a group run one after the other, so no more than three run at the same time:
# a fourth gains nothing on two cores. The files that use the fixture `pipeline` are in one group, and so share it.
SPARK_GROUPS = {
    "tests/integration/aggregator/test_counting.py": "aggregator",
    "tests/integration/aggregator/test_takeover.py": "aggregator",
    "tests/integration/test_load_pipeline.py": "pipelines",
    "tests/integration/test_local_demo.py": "demos",
    "tests/integration/test_backup.py": "pipelines",
    "tests/integration/test_canary.py": "pipelines",
    "tests/integration/test_class_archives.py": "pipelines",
    "tests/integration/test_client_examples.py": "pipelines",
    "tests/integration/test_events.py": "pipelines",
    "tests/integration/test_readme.py": "pipelines",
    "tests/integration/test_terminal_client.py": "pipelines",
    "tests/browser/test_compatibility.py": "pipelines",
    "tests/browser/test_events.py": "pipelines",
    "tests/browser/test_page.py": "pipelines",
    "tests/faults/test_chaos.py": "pipelines",
    "tests/faults/test_events.py": "pipelines",
    "tests/faults/test_power_cut.py": "pipelines",
    "tests/upgrade/test_rolling_upgrade.py": "pipelines",
}
# Its files share hosts and run in the order of their names: the first needs bare hosts, the last takes all off them.
DEPLOYMENT = "tests/deployment/"


def group_of(nodeid: str) -> str:
    """What runs on one worker of `pytest --numprocesses`, in its order: a file, or a group of files."""
    file = nodeid.partition("::")[0]
    if file.startswith(DEPLOYMENT):
        return DEPLOYMENT
    return SPARK_GROUPS.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`: give each worker whole groups, in the order of `pytest_collection_modifyitems`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where pytest-xdist runs the tests

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the groups that start Spark begin first, then those with most tests: what takes long must not begin last."""
    for item in items:
        if item.get_closest_marker("spark") and group_of(item.nodeid) not in SPARK_GROUPS.values():
            raise pytest.UsageError(f"{item.nodeid} starts Spark: name its file in SPARK_GROUPS of {__file__}")
    sizes = Counter(group_of(item.nodeid) for item in items)

    def turn(item: pytest.Item) -> tuple[bool, int, str]:
        group = group_of(item.nodeid)
        return group not in SPARK_GROUPS.values(), -sizes[group], group

    items.sort(key=turn)


@dataclass(frozen=True)
class Server:
    """A running server: its process, for tests that kill it, and its address, `host:port`."""

    process: Process
    port: int

    @property
    def address(self) -> str:
        return f"{servers.HOST}:{self.port}"

    def is_back(self) -> bool:
        """Whether it is up again after its death. Starts it if it does not run."""
        return is_back(self.process)


def is_back(server: Process) -> bool:
    """Whether a server is up again after its death. Starts it if it does not run.

    A broker ends at once for as long as ZooKeeper still holds the session of the one that was killed.
    """
    if not server.is_running():
        server.start()
    return server.is_ready()


@contextmanager
def running(process: Process, port: int) -> Iterator[Server]:
    """Start a server, and stop it in the end."""
    process.start()
    try:
        process.wait_ready(120)
        yield Server(process, port)
    finally:
        process.stop()


def running_zookeeper(directory: Path) -> AbstractContextManager[Server]:
    """A ZooKeeper. Its data and its log are in the folder `zookeeper`."""
    port = servers.free_port()
    return running(servers.zookeeper(directory / "zookeeper", port), port)


def running_broker(directory: Path, zookeeper: Server, broker_id: int = 1) -> AbstractContextManager[Server]:
    """A broker at this ZooKeeper. Its data and its log are in a folder of the name `kafka1`."""
    port = servers.free_port()
    return running(servers.kafka(directory / f"kafka{broker_id}", port, zookeeper.port, broker_id), port)


@contextmanager
def own_broker(directory: Path) -> Iterator[Server]:
    """A broker with a ZooKeeper of its own, for tests that stop it or that need the topics for themselves."""
    with running_zookeeper(directory) as zookeeper, running_broker(directory, zookeeper) as broker:
        yield broker


@pytest.fixture(scope="session")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def zookeeper(server_dir: Path) -> Iterator[Server]:
    """A ZooKeeper that the tests of this worker share."""
    with running_zookeeper(server_dir) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(server_dir: Path, zookeeper: Server) -> Iterator[Server]:
    """A broker that the tests of this worker share. They use topics of their own names."""
    with running_broker(server_dir, zookeeper) as server:
        yield server


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Two clusters with a subscriber each, Spark inside the driver, a swarm every half second.

    The tests of a worker share it, and leave it whole.
    """
    ports = Ports.free(clusters=2, subscribers_per_cluster=1)
    directory = tmp_path_factory.mktemp("pipeline") / "state"
    with Pipeline(Layout(directory, ports, trigger_ms=500, spark_master="local[2]")) as running:
        yield running


@dataclass(frozen=True)
class Tier:
    """A running process of EmoStream. Its two ports are the same if it has only an admin listener."""

    process: Process
    port: int
    admin_port: int


RunTier = Callable[..., Tier]
_WITH_PUBLIC_LISTENER = {"ingest", "registry", "subscriber"}


@pytest.fixture
def run_tier(tmp_path: Path) -> Iterator[RunTier]:
    """Runs `emostream <arguments>` on free ports until the test is over, and waits until it answers at `probe`."""
    started: list[Process] = []

    def run(*arguments: str, environment: Mapping[str, str], probe: str = "/readyz") -> Tier:
        port = admin_port = servers.free_port()
        flags = ["--port", str(port)]
        if arguments[0] in _WITH_PUBLIC_LISTENER:
            admin_port = servers.free_port()
            flags += ["--admin-port", str(admin_port)]
        process = Process(
            " ".join(arguments),
            [sys.executable, "-m", "emostream", *arguments, *flags],
            log_file=tmp_path / f"{arguments[0]}-{port}.log",
            environment=environment,
            probe=lambda: asking.get(admin_port, probe).status == 200,
        )
        started.append(process)
        process.start()
        process.wait_ready(60)
        return Tier(process, port, admin_port)

    yield run
    for process in started:
        process.stop()


def start_at_taken_port(port: int, *arguments: str, environment: Mapping[str, str]) -> None:
    """Run `emostream <arguments>` at the port of another process. It exits at once and says why."""
    ran = subprocess.run(
        [sys.executable, "-m", "emostream", *arguments, "--port", str(port)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 1
    assert "cannot be bound" in ran.stderr
