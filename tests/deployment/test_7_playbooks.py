"""The playbooks beside site.yml. Teardown is last, because it removes everything from the hosts."""

import asyncio
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.operate import backup
from tests.deployment import control
from tests.deployment.audience import watching
from tests.deployment.conftest import Say
from tests.deployment.hosts import UNITS, Hosts

pytestmark = pytest.mark.usefixtures("system")

LOGS = control.REPOSITORY / "build" / "logs"


def test_restart_needs_to_know_the_tier() -> None:
    refused = control.play("playbooks/restart.yml", seconds=120)
    assert refused.status == 2, refused.output
    assert "Say which tier: -e tier=NAME, one of" in refused.output


def test_every_other_tier_restarts() -> None:
    for tier in ("gateway", "ingest", "registry", "publisher", "audit", "aggregator", "monitoring"):
        restarted = control.play("playbooks/restart.yml", "--extra-vars", f"tier={tier}", seconds=600)
        assert restarted.status == 0, restarted.output
    verified = control.play("playbooks/verify.yml", seconds=600)
    assert verified.status == 0, verified.output


def test_an_instance_that_leaves_the_inventory_leaves_its_host_and_nothing_else_restarts(system: Hosts) -> None:
    before = {str(unit): status.pid for unit, status in system.units().items()}
    left = {number: {"cluster": "cluster3"} for number in ("1", "2")}
    arguments = ("--limit", "edge3", "--extra-vars", json.dumps({"subscriber_instances": left}))
    for extra in (("--check",), ()):
        run = control.play("playbooks/subscriber.yml", *arguments, *extra, seconds=600)
        assert run.status == 0, run.output
        assert run.changed, run.output
    again = control.play("playbooks/subscriber.yml", *arguments, seconds=600)
    assert again.changed == []
    gone = "emostream-subscriber@3"
    assert not system["edge3"].service(gone).is_running
    assert not system["edge3"].service(gone).is_enabled
    paths = f"/etc/emostream/{gone}.env /etc/emostream/{gone}.applied /var/lib/{gone} /var/lib/private/{gone}"
    assert system["edge3"].run(f"ls -d {paths}").stdout == ""
    back = control.play("playbooks/subscriber.yml", seconds=600)
    assert back.status == 0, back.output
    after = {str(unit): status.pid for unit, status in system.units().items()}
    assert {unit for unit in before if before[unit] != after[unit]} == {f"edge3:{gone}"}


@pytest.fixture
def next_release() -> Iterator[None]:
    """The checkout has another release of our code, which does the same."""
    changed = control.REPOSITORY / "emostream" / "palette.py"
    content = changed.read_text()
    changed.write_text(f"{content}# {time.time_ns()}\n")
    yield
    changed.write_text(content)


def _releases(hosts: Hosts) -> dict[str, str]:
    """The release of our code that each unit of ours names, by host and unit."""
    show = (
        "grep --with-filename --only-matching 'PYTHONPATH=/opt/emostream/app/[0-9a-f]*' /etc/systemd/system/*.service"
    )
    shown = hosts.on_each(lambda _, host: host.run(show).stdout.split())
    lines = [f"{host} {line}" for host, lines in shown.items() for line in lines]
    return {line.partition(":")[0]: line.rpartition("/")[2] for line in lines}


@pytest.mark.usefixtures("next_release")
def test_an_upgrade_and_a_rollback_lose_and_double_nothing(system: Hosts, say: Say) -> None:
    noted = control.play("playbooks/note.yml", seconds=120)
    assert noted.status == 0, noted.output
    before = _releases(system)
    upgraded = control.play("playbooks/upgrade.yml", seconds=1_800)
    say(f"playbooks/upgrade.yml: {upgraded.summary}")
    assert upgraded.status == 0, upgraded.output
    assert "Every accepted reaction was counted exactly once, and seen by every viewer." in " ".join(
        upgraded.output.split()
    )
    after = _releases(system)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    # Nothing of it has another release.
    [broker] = [unit for unit in UNITS if unit.name == "kafka"]
    broker_pid = system.units()[broker].pid

    async def go_back() -> None:
        async with watching(may_wait=True):
            back = await asyncio.to_thread(control.play, "playbooks/rollback.yml", seconds=1_200)
            say(f"playbooks/rollback.yml: {back.summary}")
            assert back.status == 0, back.output
            assert not any("Make the archives" in task.name for task in back.tasks)

    asyncio.run(go_back())
    assert _releases(system) == before
    assert system.units()[broker].pid == broker_pid
    assert system.lacking() == []


def test_logs_are_collected_from_every_host() -> None:
    collected = control.play("playbooks/collect_logs.yml", seconds=300)
    assert collected.status == 0, collected.output
    for unit in UNITS:
        assert f"{unit.name}[" in (LOGS / f"{unit.host}.log").read_text()


def test_a_support_bundle_has_every_host_and_process_and_no_secret() -> None:
    packed = control.play("playbooks/support_bundle.yml", seconds=300)
    assert packed.status == 0, packed.output
    with tarfile.open(control.REPOSITORY / "build" / "support.tar.gz") as archive:
        files = {Path(each.name).name: archive.extractfile(each) for each in archive.getmembers()}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    for unit in UNITS:
        assert f"{unit.name}.service" in texts[f"{unit.host}.txt"]
        assert f"{unit.name}[" in texts[f"{unit.host}.txt"]
    for tier in ("ingest", "aggregator", "publisher", "subscriber", "registry", "audit"):
        assert any(name.startswith(f"{tier}-") and "emostream_build_info" in text for name, text in texts.items()), tier
    whole = "\n".join(texts.values())
    secrets = [file for file in (control.REPOSITORY / "build" / "secrets" / "vagrant").iterdir() if file.is_file()]
    assert secrets
    assert not [file for file in secrets if file.read_text().strip() in whole]
    assert "PRIVATE KEY" not in whole


def test_a_backup_is_written_with_the_operators_identity() -> None:
    written = control.play("playbooks/backup.yml", seconds=120)
    assert written.status == 0, written.output
    [*_, newest] = sorted((control.REPOSITORY / "build" / "backups" / "vagrant").iterdir())
    saved = backup.read(newest.read_bytes())
    assert saved.topics.keys() > {"reactions", "swarms"}
    assert newest.stat().st_mode & 0o777 == 0o600


def test_a_teardown_is_confirmed_first() -> None:
    refused = control.play("playbooks/teardown.yml", seconds=120)
    assert refused.status == 2, refused.output
    assert "add -e confirm=yes if you mean it" in " ".join(refused.output.split())


def test_a_teardown_leaves_nothing_behind(system: Hosts) -> None:
    done = control.play("playbooks/teardown.yml", "--extra-vars", "confirm=yes", seconds=600)
    assert done.status == 0, done.output
    find = "find /etc /opt /run /var/lib -xdev -name '*emostream*' -o -path '/etc/haproxy/*.pem'; nft list tables"
    left = system.on_each(lambda _, host: host.run(find).stdout.split())
    assert not any(left.values()), left
    listed = "systemctl list-units --plain --no-legend 'emostream-*' 'spark-*' kafka.service zookeeper.service"
    running = system.on_each(lambda _, host: host.check_output(listed).splitlines())
    assert not any(running.values()), running
