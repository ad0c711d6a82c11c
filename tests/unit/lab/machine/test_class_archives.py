"""Tests which archives of classes the JVMs use, and when the set-up makes them anew."""

from pathlib import Path

import pytest

from emostream_lab.machine import class_archives, jars


@pytest.fixture(autouse=True)
def archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(class_archives, "ARCHIVES", tmp_path)
    monkeypatch.setattr(class_archives, "_MARKER", tmp_path / ".complete")
    return tmp_path


def test_a_jvm_starts_without_an_archive_that_is_missing(archives: Path) -> None:
    assert class_archives.java_options("kafka") == []
    (archives / "kafka.jsa").touch()
    assert class_archives.java_options("kafka")[0] == f"-XX:SharedArchiveFile={archives / 'kafka.jsa'}"


def test_they_are_made_anew_for_another_set_of_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not class_archives.are_complete()
    class_archives.mark_complete()
    assert class_archives.are_complete()
    for name in jars.SETS:
        (tmp_path / "jars" / name).mkdir(parents=True)
        (tmp_path / "jars" / name / "SHA256SUMS").write_text("other")
    monkeypatch.setattr(jars, "COORDINATES", tmp_path / "jars")
    assert not class_archives.are_complete()
