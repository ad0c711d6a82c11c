"""Which releases are kept on the control node, and to which of them hosts can go back."""

import hashlib
import json
from pathlib import Path

import pytest

from emostream import model
from scripts import artifacts, releases


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    monkeypatch.setattr(releases, "ARTIFACTS", folder)
    monkeypatch.setattr(artifacts, "ARTIFACTS", folder)
    monkeypatch.setattr(artifacts, "RELEASES", tmp_path / "releases")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "releases" / "mine"


def made(archives: Path, release: str, *, read: int = 1, written: int = 1) -> Path:
    """The archive of a release, and the manifest that was written last."""
    (archives / f"app-{release}.tar").write_text(release)
    entry = {"release": release, "file": f"app-{release}.tar", "sha256": hashlib.sha256(release.encode()).hexdigest()}
    path = archives / "manifest.json"
    path.write_text(json.dumps({"app": {**entry, "log_formats": {"read": read, "written": written}}}))
    return path


def chosen(archives: Path, folder: Path, name: str = "") -> str:
    path = releases.choose(folder, json.loads((archives / "manifest.json").read_text()), name)
    return str(json.loads(path.read_text())["app"]["release"])


def test_the_last_three_are_kept_and_the_archives_of_others_are_removed(archives: Path, folder: Path) -> None:
    for release in "abcd":
        manifest = made(archives, release)
        assert releases.note(folder, manifest)
        assert not releases.note(folder, manifest)
    made(archives, "never deployed")
    artifacts._remove_others(json.loads(made(archives, "e").read_text()))
    assert sorted(path.name for path in archives.glob("*.tar")) == [f"app-{each}.tar" for each in "bcde"]


def test_a_release_that_failed_goes_back_to_the_last_that_ended_well(archives: Path, folder: Path) -> None:
    for release in "ab":
        releases.note(folder, made(archives, release))
    made(archives, "c")
    assert chosen(archives, folder) == "b"


def test_a_release_that_ended_well_goes_back_to_the_one_before(archives: Path, folder: Path) -> None:
    for release in "abc":
        manifest = made(archives, release)
        releases.note(folder, manifest)
    assert chosen(archives, folder) == "b"
    before = next(path for path in folder.iterdir() if "app-b" in path.read_text())
    assert releases.note(folder, before)
    # It was done already.
    assert chosen(archives, folder) == "b"
    oldest = next(path.stem for path in folder.iterdir() if "app-a" in path.read_text())
    assert chosen(archives, folder, oldest) == "a"


def test_without_an_earlier_release_it_says_what_is_known(archives: Path, folder: Path) -> None:
    releases.note(folder, made(archives, "a"))
    with pytest.raises(
        releases.RefusedError, match=r"no earlier release to go back to\. Known are: [0-9a-f]{12} \(noted"
    ):
        chosen(archives, folder)
    with pytest.raises(releases.RefusedError, match="no release z to go back to"):
        chosen(archives, folder, "z")


def test_a_release_that_cannot_read_the_log_is_refused(archives: Path, folder: Path) -> None:
    releases.note(folder, made(archives, "a"))
    releases.note(folder, made(archives, "b", read=2))
    made(archives, "c", read=2, written=2)
    assert chosen(archives, folder) == "b"
    first = next(path.stem for path in folder.iterdir() if "app-a" in path.read_text())
    with pytest.raises(
        releases.RefusedError, match="reads records up to format 1, and a later release writes format 2"
    ):
        chosen(archives, folder, first)


def test_a_release_whose_archive_was_changed_is_refused(archives: Path, folder: Path) -> None:
    releases.note(folder, made(archives, "a"))
    made(archives, "b")
    (archives / "app-a.tar").write_text("other")
    with pytest.raises(releases.RefusedError, match="is missing or was changed"):
        chosen(archives, folder)


def test_jars_of_another_version_than_the_sums_go_to_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "JARS", tmp_path / "jars")
    monkeypatch.setattr(artifacts, "REQUIREMENTS", tmp_path)
    (tmp_path / "jars" / "kafka").mkdir(parents=True)
    (tmp_path / "jars" / "kafka" / "kafka-2.jar").write_text("2")
    sums = tmp_path / "jars" / "kafka" / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(b'2').hexdigest()}  kafka-2.jar\n")
    artifacts._copy_jars("kafka", tmp_path / "first")
    assert (tmp_path / "first" / "kafka-2.jar").read_text() == "2"
    # Its jar of the version before is still there.
    (tmp_path / "jars" / "kafka" / "kafka-1.jar").write_text("1")
    with pytest.raises(SystemExit, match="build/jars/kafka is not what requirements/jars/kafka/SHA256SUMS says"):
        artifacts._copy_jars("kafka", tmp_path / "second")


def test_the_formats_of_a_release_are_those_of_the_code() -> None:
    assert artifacts.log_formats() == {"read": model.LOG_FORMAT_READ, "written": model.LOG_FORMAT_WRITTEN}
    # Hosts can go back to the release before.
    assert model.LOG_FORMAT_READ >= model.LOG_FORMAT_WRITTEN
