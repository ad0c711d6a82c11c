"""The machines of the default inventory: created, deployed to once, shared by all tests, and destroyed at the end.

Tests that break something mend it before they end, so that each finds a whole system. Those marked `quick` are the ones
of `make test-deploy-quick`; each of them also works without the others.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.deployment import control
from tests.deployment.control import PlaybookRun
from tests.deployment.hosts import Hosts

Say = Callable[[str], None]


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Writes to the terminal at once, because each step takes minutes."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(text)
            reporter.flush()

    return write


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Iterator[Hosts]:
    """The machines, up and bare."""
    there = control.created_machines()
    assert not there, (
        f"these tests end by destroying {', '.join(there)}: if nobody needs them, run `vagrant destroy` first"
    )
    try:
        seconds, _ = control.timed(["vagrant", "up"], seconds=1_200)
        say(f"vagrant up: {seconds:.0f} s")
        yield Hosts.of_vagrant(tmp_path_factory.mktemp("ssh") / "config")
    finally:
        control.succeed(["vagrant", "destroy", "--force"], seconds=600)


@pytest.fixture(scope="session")
def first_run(hosts: Hosts, say: Say) -> PlaybookRun:  # noqa: ARG001 - they have to be there
    """site.yml on bare hosts."""
    done = control.play("site.yml", seconds=2_400)
    say(f"site.yml on bare hosts: {done.summary}")
    return done


@pytest.fixture(scope="session")
def system(hosts: Hosts, first_run: PlaybookRun) -> Iterator[Hosts]:
    """The hosts, with the whole system running on them."""
    assert first_run.status == 0, first_run.output
    with control.trusted("vagrant"):
        yield hosts
