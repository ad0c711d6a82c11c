"""A backup is read as it was written, or refused. A restored stream goes on with its totals, and doubles none."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from emostream import model
from emostream.errors import EmoStreamError
from emostream.events.table import Definition, State
from emostream.model import EventPart, Swarm
from emostream.operate import backup as backups
from emostream.operate.backup import FORMAT, Backup, TopicInfo
from emostream.swarms.rules import Batch, Compression, Group, ReactionsTopic, first_swarm, next_swarm, progress_of

OLD, NEW = (ReactionsTopic(name, beginnings={0: 0}, ends={0: 9}) for name in ("old", "new"))
STREAM = "0000000064a"
LATER_MS = 0x900


def definition(state: State = "open", stream: str = "00000000100") -> Definition:
    return Definition("A match", ("🔥",), state, stream)


def swarm(**parts: EventPart) -> Swarm:
    counted = next_swarm(
        first_swarm(STREAM, OLD, None), Batch({0: 7}, [Group(0, "🔥", 5, 5, 0, 6)]), 9, 2, Compression(1_000, "ceil")
    )
    return msgspec.structs.replace(counted, events=parts or msgspec.UNSET)


def backup(table: dict[str, Definition] | None = None, **parts: EventPart) -> Backup:
    topics = {"reactions": TopicInfo(4, 1, {"retention.ms": "1"})}
    return Backup(1_000, swarm(**parts), table or {}, topics)


def first_record(saved: Backup, table: dict[str, Definition] | None = None, last: Swarm | None = None) -> Swarm:
    return backups.first_record(saved, saved.events if table is None else table, NEW, last, LATER_MS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    backups.write(backup({"final": definition()}, final=EventPart("00000000100", 3, {"👏": 2})), tmp_path / "b.json")
    return tmp_path / "b.json"


def test_a_backup_is_read_as_it_was_written(file: Path) -> None:
    saved = backups.read(file.read_bytes())
    assert saved == backup({"final": definition()}, final=EventPart("00000000100", 3, {"👏": 2}))
    assert str(saved) == f"5 reactions to main and 2 to 1 other events, as of swarm {STREAM}-1"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["b.json"]


def test_a_backup_takes_the_place_of_an_older_one_as_a_whole(file: Path) -> None:
    file.chmod(0o644)
    backups.write(backup(), file)
    assert backups.read(file.read_bytes()) == backup()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_backup_that_cannot_be_written_leaves_the_older_one(file: Path) -> None:
    before = file.read_bytes()
    (file.parent / "b.json.unfinished").mkdir()
    with pytest.raises(EmoStreamError, match="could not be written"):
        backups.write(backup(), file)
    assert file.read_bytes() == before


def test_a_file_that_is_cut_off_anywhere_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in range(len(content)):
        with pytest.raises(EmoStreamError, match="this is no backup, or it is cut off"):
            backups.read(content[:length])


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"format": "1"}', b"\xff", b'{"backup": {}}'])
def test_what_is_no_backup_is_refused(content: bytes) -> None:
    with pytest.raises(EmoStreamError, match="this is no backup"):
        backups.read(content)


def test_other_totals_than_were_written_are_refused(file: Path) -> None:
    content = file.read_bytes()
    changed = content.replace('"totals":{"👏":2}'.encode(), '"totals":{"👏":3}'.encode())
    assert changed != content
    with pytest.raises(EmoStreamError, match="the backup is damaged"):
        backups.read(changed)


def test_another_format_is_refused(file: Path) -> None:
    changed = {**json.loads(file.read_bytes()), "format": FORMAT + 1}
    with pytest.raises(EmoStreamError, match=rf"has format {FORMAT + 1}, and this release reads {FORMAT}:"):
        backups.read(json.dumps(changed).encode())


def test_a_checksum_alone_makes_no_backup() -> None:
    inner = b'{"taken_ms":1}'
    content = model.encode(
        {"format": FORMAT, "sha256": hashlib.sha256(inner).hexdigest(), "backup": msgspec.Raw(inner)}
    )
    with pytest.raises(EmoStreamError, match="cannot be read"):
        backups.read(content)


def test_the_totals_of_all_events_go_on_in_new_streams_from_the_beginning_of_the_new_topic() -> None:
    table = {"final": definition(), "over": definition("closed")}
    parts = {
        "final": EventPart("00000000100", 3, {"👏": 2}, counts={"👏": 1}, swarm={"👏": 1}),
        "over": EventPart("00000000100", 7, {"🔥": 4}, ended=True),
    }
    record = first_record(backup(table, **parts))
    assert (record.id, record.sequence, record.reactions, record.counts) == ("00000000900-0", 0, 0, {})
    assert record.totals == {"🔥": 5}
    assert progress_of(record) == model.Progress("new", {"0": 0})
    assert record.parts == {
        "final": EventPart("00000000900", 0, {"👏": 2}),
        # Its viewers get its end.
        "over": EventPart("00000000900", 1, {"🔥": 4}, ended=True),
    }
    # What was written before the restore is counted on top, once.
    batch = Batch({0: 2}, [Group(0, "🔥", 1, 1, 0, 0), Group(0, "👏", 1, 1, 1, 1, "final")])
    after = next_swarm(record, batch, 9, 2, Compression(1_000, "ceil"))
    assert (after.totals, after.parts["final"].totals) == ({"🔥": 6}, {"👏": 3})


def test_the_new_streams_sort_after_all_that_a_viewer_may_know() -> None:
    later = "00000000a00"
    for record in (
        first_record(backup({"final": definition()}, final=EventPart(later, 3, {}))),
        first_record(backup({"final": definition(stream=later)})),
        # If ZooKeeper was not lost, it may know of a later opening.
        first_record(backup(), {"final": definition(stream=later)}),
        first_record(backup(), last=first_swarm(later, NEW, None)),
    ):
        assert record.id == "00000000a01-0"


def test_an_event_that_was_opened_again_since_the_backup_does_not_get_the_old_counts() -> None:
    saved = backup({"final": definition()}, final=EventPart("00000000100", 3, {"👏": 2}, ended=True))
    table = {"final": definition("opening", "00000000101"), "new": definition("opening", "00000000102")}
    assert first_record(saved, table).parts == {}


def test_nothing_that_was_counted_is_replaced() -> None:
    saved = backup(final=EventPart("00000000100", 3, {"👏": 2}))
    begun = first_swarm("00000000200", NEW, None)
    assert first_record(saved, last=begun).totals == {"🔥": 5}
    restored = first_record(saved)
    only_events = msgspec.structs.replace(restored, totals={})
    only_dead_letters = next_swarm(begun, Batch({0: 1}, [], 1), 9, 2, Compression(1_000, "ceil"))
    for last in (restored, only_events, only_dead_letters):
        with pytest.raises(EmoStreamError, match=f"its last record is swarm {last.id}"):
            first_record(saved, last=last)
