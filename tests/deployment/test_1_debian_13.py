"""site.yml deploys on Debian 13 as on Debian 12: on the host of inventory/single, which this file makes and destroys.

It runs before the hosts of the default inventory are made, so that their memory is not needed at the same time.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import control
from tests.deployment.conftest import Say

_INVENTORY = "single"
_FOLDER = Path("inventory") / _INVENTORY
_VAGRANT = {"EMOSTREAM_INVENTORY": _INVENTORY, "EMOSTREAM_DEBIAN": "trixie"}


@pytest.fixture(scope="module")
def host(say: Say) -> Iterator[None]:
    """The host, up and bare."""
    there = control.created_machines(_INVENTORY)
    assert not there, (
        f"this test ends by destroying {', '.join(there)}: if nobody needs it, "
        f"run `EMOSTREAM_INVENTORY={_INVENTORY} vagrant destroy` first"
    )
    control.succeed(["scripts/lxc-box", "trixie"], seconds=1_200)
    try:
        # Only LXC has a box of it.
        control.succeed(["vagrant", "up", "--provider=lxc"], seconds=600, environment=_VAGRANT)
        release = control.succeed(
            ["lxc-attach", "--name", "emostream1", "--", "cat", "/etc/debian_version"], seconds=60
        )
        say(f"emostream1: Debian {release.strip()}")
        assert release.startswith("13.")
        yield
    finally:
        control.succeed(["vagrant", "destroy", "--force"], seconds=300, environment=_VAGRANT)
        # No host is left that could go back to a release. These are for the Python of Debian 13.
        shutil.rmtree(control.REPOSITORY / "build" / "releases" / _INVENTORY, ignore_errors=True)


@pytest.mark.usefixtures("host")
def test_site_yml_deploys_a_verified_system_and_a_second_run_changes_nothing(say: Say) -> None:
    first = control.play("site.yml", inventory=_FOLDER, seconds=2_400)
    say(f"site.yml on a bare host: {first.summary}")
    assert first.status == 0, first.output
    assert "reactions were accepted, and counted exactly at a viewer of each of 2 subscribers" in " ".join(
        first.output.split()
    )

    second = control.play("site.yml", inventory=_FOLDER, seconds=1_200)
    say(f"site.yml on a system that runs: {second.summary}")
    assert second.status == 0, second.output
    assert second.changed == []
