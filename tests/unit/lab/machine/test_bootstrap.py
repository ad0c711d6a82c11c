"""Tests that the set-up announces what is missing, and prints nothing if nothing is missing."""

import io
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab.machine import bootstrap, checkout, jars, java
from emostream_lab.machine.bootstrap import PURPOSES, Step


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Simulate a machine without Java, Maven, venv and jars. Returns the folder of the future environment."""

    def no_java() -> Path:
        raise EmoStreamError("none")

    monkeypatch.setattr(java, "java_home", no_java)
    monkeypatch.setattr(jars, "JARS", tmp_path / "jars")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    monkeypatch.setattr(bootstrap, "_has_module", lambda _: False)
    return tmp_path / ".venv"


def make_environment(directory: Path) -> None:
    """Make what the set-up takes for a virtual environment."""
    (directory / "bin").mkdir(parents=True)
    for command in ("python", "pip"):
        (directory / "bin" / command).touch()


@pytest.mark.parametrize(
    ("codename", "package"),
    [
        ("bookworm", "openjdk-17-jre-headless"),
        ("trixie", "openjdk-21-jre-headless"),
        ("noble", "openjdk-21-jre-headless"),
    ],
)
@pytest.mark.usefixtures("bare_machine")
def test_a_bare_machine_gets_the_java_that_its_distribution_has(
    monkeypatch: pytest.MonkeyPatch, codename: str, package: str
) -> None:
    monkeypatch.setattr(bootstrap, "_os_release", lambda: {"VERSION_CODENAME": codename})
    assert bootstrap.missing_packages(PURPOSES["demo"]) == [package, "maven", "python3-venv"]
    assert len(bootstrap.missing_steps(PURPOSES["demo"])) == 4


def test_a_machine_that_lists_fonts_but_has_none_for_emoji_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda command: f"/usr/bin/{command}")

    def no_font(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, stdout="", stderr="")

    monkeypatch.setattr(bootstrap.subprocess, "run", no_font)
    assert "fonts-noto-color-emoji" in bootstrap.missing_packages(PURPOSES["browser"])
    assert "fonts-noto-color-emoji" not in bootstrap.missing_packages(PURPOSES["test"])


@pytest.mark.usefixtures("bare_machine")
def test_ubuntus_chromium_is_a_snap_so_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_os_release", lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    with pytest.raises(EmoStreamError, match="put another `chromium` and the `chromedriver` of its version on PATH"):
        bootstrap.missing_steps(PURPOSES["browser"])
    assert "chromium" not in bootstrap.missing_packages(PURPOSES["test"])


@pytest.mark.usefixtures("bare_machine")
def test_only_the_tests_in_firefox_need_it_and_ubuntu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_os_release", lambda: {"VERSION_CODENAME": "bookworm"})
    needing = {name for name, purpose in PURPOSES.items() if "firefox-esr" in bootstrap.missing_packages(purpose)}
    assert needing == {"firefox"}
    monkeypatch.setattr(bootstrap, "_os_release", lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    with pytest.raises(EmoStreamError, match="put a `firefox-esr` on PATH and start again"):
        bootstrap.missing_steps(PURPOSES["firefox"])


@pytest.mark.usefixtures("bare_machine")
def test_without_apt_the_error_says_what_to_install() -> None:
    with pytest.raises(EmoStreamError, match="no apt-get here: install maven, nodejs by other means"):
        bootstrap._apt_install(["maven", "nodejs"])


@pytest.mark.usefixtures("bare_machine")
def test_the_package_for_npm_needs_neither_java_nor_python_packages() -> None:
    assert bootstrap.missing_packages(PURPOSES["package"]) == ["nodejs", "npm"]
    assert [step.what for step in bootstrap.missing_steps(PURPOSES["package"])] == ["apt packages: nodejs npm"]


@pytest.mark.usefixtures("bare_machine")
def test_without_rights_the_error_is_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda command: "/usr/bin/x" if command == "apt-get" else None)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    with pytest.raises(EmoStreamError, match=r"run `apt-get install .* maven` as root"):
        bootstrap._apt_install(["maven"])


def test_an_environment_is_complete_only_for_the_requirements_it_was_made_from(
    bare_machine: Path,
) -> None:
    assert not bootstrap._is_installed("spark")
    make_environment(bare_machine)
    bootstrap._marker("dev").write_text(bootstrap._fingerprint("dev"))
    assert bootstrap._is_installed("dev")
    # The packages for the tests include those for the demo.
    assert not any("Python" in step.what for step in bootstrap.missing_steps(PURPOSES["demo"]))
    bootstrap._marker("dev").write_text("of an older file")
    assert not bootstrap._is_installed("dev")


@pytest.mark.usefixtures("bare_machine")
def test_a_full_disk_is_refused_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1e9}))
    with pytest.raises(EmoStreamError, match=r"has 1\.0 GB free and the set-up needs"):
        bootstrap.prepare(PURPOSES["demo"])


def test_a_jar_that_is_not_as_pinned_makes_its_set_incomplete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jars, "JARS", tmp_path)
    assert jars.incomplete_sets() == list(jars.SETS)
    name, (file, *_) = "zookeeper", list(jars._pinned("zookeeper"))
    (tmp_path / name).mkdir()
    (tmp_path / name / file).write_bytes(b"another")
    assert file in jars.missing_or_wrong(name)


def test_settings_of_pip_for_other_installations_do_not_reach_ours() -> None:
    environment = {"PIP_USER": "1", "PIP_TARGET": "/opt", "PIP_INDEX_URL": "https://pypi.example", "PYTHONPATH": "/opt"}
    assert bootstrap.pip_environment({**environment, "HOME": "/home/ada"}) == {
        "PIP_INDEX_URL": "https://pypi.example",
        "HOME": "/home/ada",
    }


def test_pip_installs_into_our_environment_whatever_its_settings_say(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(bootstrap.REPOSITORY / "requirements", tmp_path / "requirements")
    shutil.copy(bootstrap.REPOSITORY / "pyproject.toml", tmp_path)
    monkeypatch.setattr(bootstrap, "REPOSITORY", tmp_path)
    make_environment(bare_machine)
    ran: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(bootstrap, "_run", lambda command, _, environment: ran.append((command, environment)))
    monkeypatch.setenv("PIP_USER", "1")
    bootstrap._pip_install("spark")
    assert len(ran) == 3
    for command, environment in ran:
        assert "PIP_USER" not in environment
        # A pip.conf may say the same.
        assert "--no-user" in command


def test_axe_is_fetched_alone_by_its_hash(bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bootstrap, "AXE", tmp_path / "build" / "axe" / "package" / "axe.min.js")
    make_environment(bare_machine)
    ran: list[list[str]] = []

    def run(command: list[str], _failed: str, _environment: dict[str, str]) -> None:
        ran.append(command)
        (Path(command[command.index("--target") + 1]) / "package").mkdir(parents=True)

    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap._unpack_axe()
    [command] = ran
    assert {"--require-hashes", "--no-deps", "--no-user"} <= set(command)
    assert bootstrap.AXE.parent.is_dir()


def test_centrifugo_is_built_by_a_go_of_its_own_which_is_gone_afterwards(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "CENTRIFUGO", tmp_path / "build" / "centrifugo" / "centrifugo")
    monkeypatch.setenv("GOROOT", "/opt/another-go")
    make_environment(bare_machine)
    ran: list[list[str]] = []

    def run(command: list[str], _failed: str, environment: dict[str, str]) -> None:
        ran.append(command)
        made = Path(environment["GOBIN"] if "GOBIN" in environment else command[command.index("--target") + 1])
        made.mkdir(parents=True)
        (made / "centrifugo").touch()
        assert environment["GOROOT"] == (str(made.parent / "go/go") if "GOBIN" in environment else "/opt/another-go")

    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap._build_centrifugo()
    unpack, install = ran
    assert {"--require-hashes", "--no-deps", "requirements/go.txt"} <= set(unpack)
    assert install[1:] == ["install", "github.com/centrifugal/centrifugo/v6@v6.9.1"]
    assert list(bootstrap.CENTRIFUGO.parents[1].rglob("*")) == [bootstrap.CENTRIFUGO.parent, bootstrap.CENTRIFUGO]


@pytest.fixture
def busy_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Install a fake apt-get whose package lists are locked at the first call. Returns the file with its calls."""
    calls = tmp_path / "calls"
    command = tmp_path / "bin" / "apt-get"
    command.parent.mkdir()
    command.write_text(
        f"""#!/bin/sh
echo "$@" >> {calls}
[ "$(wc -l < {calls})" -gt 1 ] && exit 0
echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (unattended-upgr)'
echo 'E: Unable to lock directory /var/lib/apt/lists/'
exit 100
"""
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "set-up.log")
    monkeypatch.setattr(bootstrap, "_APT_RETRY_SECONDS", 0)
    return calls


def test_the_set_up_waits_for_whoever_uses_apt(busy_apt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap._apt_install(["maven"])
    update, again, install = busy_apt.read_text().splitlines()
    assert update == again == "update --quiet"
    assert "DPkg::Lock::Timeout=900" in install
    assert "process 7 (unattended-upgr)): waiting until it is done" in capsys.readouterr().out


def test_two_set_ups_at_once_come_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "set-up.log")
    monkeypatch.setattr(bootstrap, "LOCK", tmp_path / "set-up.lock")
    monkeypatch.setattr(checkout, "check", lambda *_: None)
    monkeypatch.setattr(bootstrap, "missing_steps", lambda _: [Step("a step", 0, lambda: order.append("second"))])
    entered = threading.Event()
    with bootstrap._alone():
        other = threading.Thread(target=bootstrap.prepare, args=(PURPOSES["demo"],))
        other.start()
        while "Another set-up is running" not in capfd.readouterr().out:
            assert other.is_alive()
            entered.wait(0.01)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]


@pytest.mark.usefixtures("bare_machine")
def test_a_folder_that_java_cannot_use_is_refused_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "REPOSITORY", tmp_path / "a:b")
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "set-up.log")
    monkeypatch.setattr(bootstrap, "LOCK", tmp_path / "set-up.lock")
    with pytest.raises(EmoStreamError, match="move the checkout"):
        bootstrap.prepare(PURPOSES["demo"])


def test_the_log_of_the_set_up_is_shown_where_its_characters_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, "latin-1", write_through=True))
    monkeypatch.setattr(sys, "argv", ["bootstrap", "demo"])
    # pip draws its progress with such characters.
    monkeypatch.setattr(bootstrap, "prepare", lambda _: print("━━ 3 MB"))
    bootstrap.main()
    assert output.getvalue() == b"?? 3 MB\n"
