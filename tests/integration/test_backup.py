"""`emostream backup` on a running system, and its restore into Kafka and ZooKeeper that know nothing of it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition

from emostream import cli, config, model
from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events.table import Definition
from emostream.model import SWARMS_TOPIC, Reaction, Swarm
from emostream.operate import backup as backups
from emostream.operate import events
from emostream.operate.backup import Backup
from emostream.operate.events import EventOptions
from emostream.runtime.kafka import admin_client
from emostream.swarms.log import last_swarm
from emostream_lab.processes import servers, topology
from emostream_lab.processes.topology import Layout, Ports
from tests.conftest import running, running_broker, running_zookeeper, with_all_faults
from tests.integration.asking import get, metric, post
from tests.integration.viewers import Connection, wait_until
from tests.pipeline import Pipeline, command

NOW_MS = 1_732_370_000_123
PATIENCE_SECONDS = 60
OPTIONS = EventOptions("India – Australia", ["🔥", "👏"])
LISTED = [
    {"event": "final", "title": OPTIONS.title, "palette": OPTIONS.palette},
    {"event": "over", "title": OPTIONS.title, "palette": OPTIONS.palette, "state": "closed"},
]


def react(running: Pipeline, event: str, emoji: str, count: int) -> None:
    reactions = [Reaction("u1", emoji, NOW_MS)] * count
    path = f"{model.event_path(event)}/reactions"
    assert post(running.layout.ports.ingest, path, model.encode(reactions)).status == 202


def record_of(running: Pipeline) -> Swarm:
    found = last_swarm(topology.operator_settings(running.layout)[1])
    assert found is not None
    return found


def totals(running: Pipeline) -> dict[str, model.Counts]:
    """The totals of every event, as the log has them."""
    record = record_of(running)
    return {model.MAIN: record.totals, **{event: part.totals for event, part in record.parts.items()}}


def plus(counts: model.Counts, emoji: str, count: int) -> model.Counts:
    return {**counts, emoji: counts.get(emoji, 0) + count}


@pytest.fixture
def saved(pipeline: Pipeline, tmp_path: Path) -> Iterator[Path]:
    """A backup of a system with reactions to `main`, to an open event, and to one that is over."""
    file, before = tmp_path / "backup.json", record_of(pipeline).totals
    with pipeline.event("final", OPTIONS), pipeline.event("over", OPTIONS):
        react(pipeline, "main", "🔥", 5)
        react(pipeline, "final", "🔥", 900)
        react(pipeline, "over", "👏", 3)
        pipeline.operate("events", "close", "over")
        expected = {"main": plus(before, "🔥", 5), "final": {"🔥": 900}, "over": {"👏": 3}}
        wait_until(lambda: totals(pipeline) == expected, PATIENCE_SECONDS, lambda: totals(pipeline))
        told = pipeline.operate("backup", str(file))
        assert "and 903 to 2 other events" in told
        assert "It lacks 0 records of reactions" in told
        # It is not in the backup.
        react(pipeline, "final", "👏", 1)
        yield file


@pytest.fixture
def restored(saved: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Another system, whose servers knew nothing before the restore. Its tiers start after it, as on new hosts."""
    layout = Layout(tmp_path / "state", Ports.free(1, 1), trigger_ms=500, spark_master="local[2]")
    ports, directory = layout.ports, tmp_path / "servers"
    with ExitStack() as cleanup:
        zookeeper = servers.zookeeper(directory / "zookeeper", ports.zookeeper)
        cleanup.enter_context(running(zookeeper, ports.zookeeper))
        cleanup.enter_context(running(servers.kafka(directory / "kafka", ports.kafka, ports.zookeeper), ports.kafka))
        done = command(layout, "topics", "apply", "--new-stream", "--totals-from", str(saved))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "changed=6"
        # The topics are applied again at its start.
        yield cleanup.enter_context(Pipeline(layout, leave_out=("zookeeper", "kafka", "registry")))


# It starts a second system. Each `make test` has the next test, which restores without one.
@pytest.mark.spark
@pytest.mark.faults
@with_all_faults
@pytest.mark.timeout(900)
def test_a_fresh_system_goes_on_with_the_totals_of_a_backup(restored: Pipeline, saved: Path) -> None:
    """One test of many steps, because a system starts slowly."""
    backup = backups.read(saved.read_bytes())
    before = {"main": backup.record.totals, "final": {"🔥": 900}, "over": {"👏": 3}}
    assert totals(restored) == before
    ((port,),) = restored.layout.ports.subscribers
    react(restored, "main", "🔥", 2)
    react(restored, "final", "👏", 4)
    expected = {**before, "main": plus(before["main"], "🔥", 2), "final": {"🔥": 900, "👏": 4}}
    wait_until(lambda: totals(restored) == expected, PATIENCE_SECONDS, lambda: totals(restored))

    known = f"{backup.record.parts['final'].stream}-{backup.record.parts['final'].sequence + 1}"
    for target, kind in (("stream", model.Snapshot), (f"stream?last_event_id={known}", model.Reset)):
        # A viewer of the old system may have seen more than the backup has.
        with Connection(port, f"/v1/events/final/{target}") as viewer:
            wait_until(viewer.seen, PATIENCE_SECONDS, lambda viewer=viewer: viewer.head)
            (first,) = viewer.messages()
            assert isinstance(first, kind)
            assert first.totals == {"🔥": 900, "👏": 4}
    with Connection(port, "/v1/stream") as main:
        wait_until(main.seen, PATIENCE_SECONDS, lambda: main.head)
        (snapshot,) = main.messages()
        assert isinstance(snapshot, model.Snapshot)
        assert snapshot.totals == expected["main"]
    with Connection(port, "/v1/events/over/stream") as over:
        over.wait_end()
        end = over.messages()[-1]
        assert isinstance(end, model.End)
        assert end.totals == {"👏": 3}
    assert get(restored.layout.ports.ingest, "/v1/events/over/palette").status == 410

    check_that_to_apply_again_changes_nothing(restored)
    again = restored.command("topics", "apply", "--new-stream", "--totals-from", str(saved))
    assert again.returncode == 1
    assert "swarms has counted already" in again.stderr
    assert totals(restored) == expected
    audit = restored.layout.ports.audit
    accepted = sum(sum(each.values()) for each in expected.values())
    wait_until(lambda: metric(audit, "emostream_audit_accepted_reactions") == accepted, PATIENCE_SECONDS)
    assert metric(audit, "emostream_audit_lost_reactions") == metric(audit, "emostream_audit_doubled_reactions") == 0
    restored.operate("events", "close", "final")
    assert totals(restored) == expected


def check_that_to_apply_again_changes_nothing(system: Pipeline) -> None:
    """As site.yml does on a system that has users."""
    file = system.layout.directory / "events.json"
    file.write_text(json.dumps(LISTED))
    before, table = totals(system), system.operate("events", "list")
    for arguments in (("topics", "apply"), ("events", "apply", str(file))):
        assert system.operate(*arguments) == "changed=0\n"
    assert (totals(system), system.operate("events", "list")) == (before, table)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaSettings]:
    """A broker without a topic and a ZooKeeper without a node; the operator's commands find them."""
    with running_zookeeper(tmp_path) as zookeeper, running_broker(tmp_path, zookeeper) as broker:
        monkeypatch.setenv("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", broker.address)
        monkeypatch.setenv("EMOSTREAM_ZOOKEEPER_HOSTS", zookeeper.address)
        monkeypatch.setenv("EMOSTREAM_CLUSTERS_NAMES", "cluster1")
        yield KafkaSettings(bootstrap_servers=(broker.address,))


def emostream(*arguments: str) -> Result:
    """Only stdout counts: on a busy machine kafka-python warns of slow answers on stderr."""
    return CliRunner().invoke(cli.main, arguments)


def test_a_restore_changes_nothing_until_it_can_be_done_and_is_done_once(alone: KafkaSettings, tmp_path: Path) -> None:
    """One test of many steps, because servers start slowly."""
    file, damaged = tmp_path / "backup.json", tmp_path / "damaged.json"
    restore = ("topics", "apply", "--new-stream", "--totals-from", str(file))
    absent = emostream("backup", str(file))
    assert absent.exit_code == 1
    assert "there is no topic swarms" in absent.output
    assert not file.exists()

    saved = written(file)
    damaged.write_bytes(file.read_bytes().replace(b"900", b"901"))
    refused = emostream("topics", "apply", "--new-stream", "--totals-from", str(damaged))
    assert refused.exit_code == 1
    assert "the backup is damaged" in refused.output
    assert emostream("topics", "apply", "--totals-from", str(file)).exit_code == 2
    planned = emostream(*restore, "--check")
    assert planned.exit_code == 1
    assert planned.stdout.splitlines()[-2:] == [f"swarms: begin a new stream with {saved}", "changed=6"]
    with admin_client(alone.bootstrap_servers) as admin:
        assert admin.list_topics() == []
    assert emostream("events", "list").stdout.splitlines()[1:] == ["main   open   yes"]

    # As if it had ended in the middle: the table is there, and no record.
    backups.restore_table(saved, config.load(ZooKeeperSettings), alone)
    assert emostream("topics", "apply").exit_code == 0
    done = emostream(*restore)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "changed=1"
    record = last_swarm(alone)
    assert record is not None
    assert (record.totals, record.parts["final"].totals) == ({"🔥": 5}, {"🔥": 900})
    for flags in ((), ("--check",)):
        again = emostream(*restore, *flags)
        assert again.exit_code == 1
        assert f"its last record is swarm {record.id}" in again.output
    assert emostream("topics", "apply").stdout == "changed=0\n"
    assert last_swarm(alone) == record

    assert emostream("backup", str(file)).exit_code == 0
    second = backups.read(file.read_bytes())
    assert (second.record, second.events) == (record, saved.events)
    assert second.topics["reactions"].partitions == alone.reactions_partitions
    assert second.topics.keys() == {"cluster1", "reactions", "reactions.dead-letter", "reactions.warm-up", "swarms"}

    # The broker lost its data, and ZooKeeper did not. The event was closed after the backup.
    with events.operator(config.load(ZooKeeperSettings), alone, 1) as operator, pytest.raises(EmoStreamError):
        operator.close("final")
    with admin_client(alone.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(SWARMS_TOPIC, 0): -1})
    emptied = emostream("topics", "apply")
    assert emptied.exit_code == 1
    assert "`emostream topics apply --new-stream`, with `--totals-from FILE` if there is a backup" in emptied.output
    assert emostream(*restore).exit_code == 0
    last = last_swarm(alone)
    assert last is not None
    assert (last.totals, last.parts["final"].totals) == ({"🔥": 5}, {"🔥": 900})
    assert emostream("events", "list").stdout.splitlines()[2].split()[:2] == ["final", "closing"]


def written(file: Path) -> Backup:
    """A backup of a system that ran elsewhere."""
    stream = "00000000100"
    part = model.EventPart(stream, 3, {"🔥": 900})
    record = Swarm(
        id=f"{stream}-9",
        sequence=9,
        window=model.Window(0, 2),
        reactions=0,
        counts={},
        swarm={},
        totals={"🔥": 5},
        progress=model.Progress("another", {"0": 70}),
        events={"final": part},
    )
    saved = Backup(NOW_MS, record, {"final": Definition("A match", ("🔥",), "open", stream)}, {})
    backups.write(saved, file)
    return saved
