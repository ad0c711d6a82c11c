"""Installs what this machine lacks for a make target. The root Makefile calls it before each target.

Run it as `python3 -m emostream_lab.machine.bootstrap PURPOSE` from the root of the repository. It runs before anything
is installed, so it uses the standard library only. It prints what is missing and the size of the downloads, and then
installs it. If nothing is missing, it prints nothing.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream.runtime import output
from emostream_lab.machine import checkout, class_archives, jars, java, prometheus

REPOSITORY = jars.REPOSITORY
VENV = REPOSITORY / ".venv"
OLDEST_PYTHON = (3, 11)
LOG = REPOSITORY / "build" / "set-up.log"
LOCK = REPOSITORY / "build" / "set-up.lock"
# nginx with the module nchan. `make bench` compares our subscribers with it.
NCHAN = REPOSITORY / "build" / "nchan"
_NCHAN_PACKAGES = ("nginx", "libnginx-mod-nchan")
# `make bench` compares our subscribers with Centrifugo too. It needs Go 1.26, and Debian 12 has 1.19.
CENTRIFUGO = REPOSITORY / "build" / "centrifugo" / "centrifugo"
_CENTRIFUGO_MODULE = "github.com/centrifugal/centrifugo/v6@v6.9.1"
# Users do not have this folder on their PATH.
HAPROXY = "/usr/sbin/haproxy"
# The script of axe-core, which finds faults of accessibility in the browser tests.
AXE = REPOSITORY / "build" / "axe" / "axe_playwright_python" / "axe.min.js"
# This path is fixed in the module: nginx refuses a setting for another folder as a duplicate.
_NCHAN_MESSAGES = Path("/var/lib/nginx/body")
NEEDED_DISK_GB = 4
# How long to wait while another program, such as unattended-upgrades, locks apt.
_APT_TIMEOUT_SECONDS = 900
_APT_RETRY_SECONDS = 5.0
# The settings of pip that say how it reaches packages. Others, such as PIP_USER, belong to other installations.
_PIP_KEPT = {
    f"PIP_{name}"
    for name in (
        *("INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "TRUSTED_HOST", "CERT", "CLIENT_CERT", "PROXY"),
        *("TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "CACHE_DIR", "NO_CACHE_DIR", "CONFIG_FILE", "KEYRING_PROVIDER"),
    )
}


@dataclass(frozen=True)
class Purpose:
    """What a make target needs on this machine.

    The first of `requirements` is installed, unless any of them is installed already: the others include it.
    `commands` maps a command to the Debian and Ubuntu package that contains it. With `has_servers`, Kafka, ZooKeeper
    and Spark run, so Java and their jars are needed.
    """

    requirements: tuple[str, ...]
    download_mb: int
    commands: dict[str, str]
    has_servers: bool = True
    has_peers: bool = False
    has_prometheus: bool = False
    has_axe: bool = False
    shows_emoji: bool = False


PURPOSES = {
    "demo": Purpose(("spark", "dev"), 470, {}),
    "demo-metrics": Purpose(("spark", "dev"), 470, {}, has_prometheus=True),
    "test": Purpose(("dev",), 660, {"curl": "curl", "node": "nodejs", HAPROXY: "haproxy"}, has_prometheus=True),
    "browser": Purpose(
        ("dev",),
        660,
        {
            "chromium": "chromium",
            "chromedriver": "chromium-driver",
            "fc-list": "fontconfig",
            "node": "nodejs",
            HAPROXY: "haproxy",
        },
        has_prometheus=True,
        has_axe=True,
        shows_emoji=True,
    ),
    "firefox": Purpose(("dev",), 660, {"firefox-esr": "firefox-esr", HAPROXY: "haproxy"}),
    "bench": Purpose(("dev",), 660, {HAPROXY: "haproxy"}, has_peers=True),
    "package": Purpose((), 0, {"node": "nodejs", "npm": "npm"}, has_servers=False),
}


@dataclass(frozen=True)
class Step:
    """A missing item: its description, the most that it downloads in MB, and the function that installs it."""

    what: str
    download_mb: int
    run: Callable[[], None]


def missing_steps(purpose: Purpose) -> list[Step]:
    """Return the steps that are still necessary on this machine, in the order in which they must run."""
    steps = []
    if packages := missing_packages(purpose):
        download_mb = 180 if "firefox-esr" in packages else 80
        steps.append(Step(f"apt packages: {' '.join(packages)}", download_mb, lambda: _apt_install(packages)))
    if purpose.requirements and not any(_is_installed(name) for name in purpose.requirements):
        name = purpose.requirements[0]
        what = f"Python packages into .venv: those of requirements/{name}.txt (430 MB of it are Spark)"
        steps.append(Step(what, purpose.download_mb, lambda: _pip_install(name)))
    if purpose.has_servers and (sets := jars.incomplete_sets()):
        steps.append(Step(f"jars into build/jars: {', '.join(sets)}, through Maven", 110, _fetch_jars))
    if purpose.has_servers and not _has_class_archives():
        what = "class archives into build/class-archives, with which Kafka, ZooKeeper and Spark start faster"
        steps.append(Step(what, 0, _archive_classes))
    if purpose.has_peers and not (NCHAN.exists() and _NCHAN_MESSAGES.exists()):
        what = "nginx with nchan, to compare with: apt's packages, unpacked into build/nchan and not installed, and "
        what += f"the empty folder {_NCHAN_MESSAGES} that they need"
        steps.append(Step(what, 2, _unpack_nchan))
    if purpose.has_peers and not CENTRIFUGO.exists():
        what = "Centrifugo, to compare with: built from its Go modules into build/centrifugo, which takes minutes, and "
        what += "3 GB while it builds"
        steps.append(Step(what, 270, _build_centrifugo))
    if purpose.has_prometheus and not prometheus.is_there():
        what = "Prometheus and its promtool: apt's package, unpacked into build/prometheus and not installed"
        steps.append(Step(what, 20, _unpack_prometheus))
    if purpose.has_axe and not AXE.exists():
        steps.append(Step("axe-core into build/axe, which finds faults of accessibility", 1, _unpack_axe))
    return steps


def missing_packages(purpose: Purpose) -> list[str]:
    """Return the names of the missing Debian packages, which the later steps need.

    Raises EmoStreamError if the distribution has no such package.
    """
    missing = _missing_of_servers() if purpose.has_servers else []
    # On Debian, python3 alone cannot create a virtual environment.
    if purpose.requirements and not _venv_works() and not _has_module("ensurepip"):
        missing.append("python3-venv")
    missing += [package for command, package in purpose.commands.items() if shutil.which(command) is None]
    if purpose.shows_emoji and not _has_emoji_font():
        missing.append("fonts-noto-color-emoji")
    if "chromium" in missing and _os_release().get("ID") == "ubuntu":
        raise EmoStreamError(
            "Ubuntu has Chromium as a snap only, which cannot see the tests' folders: put another `chromium` and the "
            "`chromedriver` of its version on PATH and start again. `make lint test-unit test-integration` works "
            "without it."
        )
    if "firefox-esr" in missing and _os_release().get("ID") == "ubuntu":
        raise EmoStreamError(
            "Ubuntu has no package of Firefox ESR, and its Firefox is a snap, which cannot see the tests' folders: put "
            "a `firefox-esr` on PATH and start again. `make test` works without it."
        )
    return missing


def _missing_of_servers() -> list[str]:
    missing = []
    try:
        java.java_home()
    except EmoStreamError:
        missing.append(_java_package(_os_release()))
    if jars.incomplete_sets() and shutil.which("mvn") is None:
        missing.append("maven")
    return missing


def _java_package(os_release: dict[str, str]) -> str:
    is_bookworm = os_release.get("VERSION_CODENAME") == "bookworm"
    return f"openjdk-{17 if is_bookworm else 21}-jre-headless"


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    lines = path.read_text().splitlines() if path.exists() else []
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _has_module(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def _has_emoji_font() -> bool:
    if shutil.which("fc-list") is None:
        return False
    found = subprocess.run(["fc-list", ":charset=1f525"], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip())


def _apt_install(packages: Sequence[str]) -> None:
    line = f"apt-get install --yes --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise EmoStreamError(
            f"there is no apt-get here: install {', '.join(packages)} by other means (these are Debian's names; on "
            "Fedora for example `sudo dnf install java-21-openjdk-headless maven nodejs`) and start again."
        )
    # The package lists may be old and name versions that the archive no longer has.
    _apt_update(remedy=line)
    _run_as_root(f"{line} --quiet -o DPkg::Lock::Timeout={_APT_TIMEOUT_SECONDS}", remedy=line)


def _apt_update(remedy: str) -> None:
    """Run apt-get update, and retry while the package lists are locked.

    apt itself waits only for the lock on the installation of packages.
    """
    deadline = time.monotonic() + _APT_TIMEOUT_SECONDS
    while True:
        try:
            return _run_as_root("apt-get update --quiet", remedy)
        except EmoStreamError:
            if "Could not get lock" not in _log_tail(5) or time.monotonic() > deadline:
                raise
        print(f"another process uses apt ({_log_tail(2).splitlines()[0]}): waiting until it is done", flush=True)
        time.sleep(_APT_RETRY_SECONDS)


def _run_as_root(line: str, remedy: str) -> None:
    """Run a command as root. If it fails, the error tells the user to run `remedy`."""
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if as_root and shutil.which("sudo") is None:
        raise EmoStreamError(f"this needs root, and there is no sudo: run `{remedy}` as root and start again.")
    if as_root:
        # Ask for the password now, before progress output can overwrite the prompt.
        subprocess.run(["sudo", "--validate"], check=False)
    # sudo does not pass the environment on. The locale is fixed because we parse the output of apt.
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    failed = f"`{line}` failed: run `{remedy}` as root and start again."
    _run([*as_root, *environment, *shlex.split(line)], failed)


def _pip_install(name: str) -> None:
    if not _venv_works():
        shutil.rmtree(VENV, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(VENV)], "no virtual environment could be made in .venv.")
    # The build of Spark unpacks 1 GB, for which a /tmp in memory may be too small.
    build_dir = REPOSITORY / "build" / "tmp"
    build_dir.mkdir(parents=True, exist_ok=True)
    environment = {**pip_environment(os.environ), "TMPDIR": str(build_dir)}
    # A pip.conf with `user = true` would install the packages elsewhere.
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--no-user"]
    hashed = [*pip, "--require-hashes", "-r"]
    failed = "pip could not install {}: is there a network, and free disk space? Start again to go on."
    # The tools that build wheels are pinned too.
    _run([*hashed, "requirements/build.txt"], failed.format("requirements/build.txt"), environment)
    requirements = f"requirements/{name}.txt"
    _run([*hashed, requirements, "--no-build-isolation"], failed.format(requirements), environment)
    _run([*pip, "--no-deps", "--no-build-isolation", "--quiet", "-e", "."], failed.format("emostream"), environment)
    shutil.rmtree(build_dir)
    _marker(name).write_text(_fingerprint(name))


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop the variables that would make pip install elsewhere, or find packages of other installations."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PIP_KEPT or not (name.startswith("PIP_") or name in {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"})
    }


def _fetch_jars() -> None:
    _run([sys.executable, "-m", "emostream_lab.machine.jars"], "the jars could not be fetched.")


def _has_class_archives() -> bool:
    try:
        return class_archives.are_complete()
    except EmoStreamError:
        # Java is missing, so it is a step that comes before.
        return False


def _archive_classes() -> None:
    command = [str(VENV / "bin" / "python"), "-m", "emostream_lab.machine.archive_classes"]
    _run(command, "the class archives could not be made.")


def _unpack_nchan() -> None:
    own_folder = f"install --directory --owner={os.geteuid()} {_NCHAN_MESSAGES}"
    _run_as_root(own_folder, remedy=own_folder)
    _unpack_packages(_NCHAN_PACKAGES, NCHAN)


def _build_centrifugo() -> None:
    """Build Centrifugo with a Go of its own. Go checks each module by its public checksum database."""
    build, folder = CENTRIFUGO.parent.with_suffix(".new"), CENTRIFUGO.parent
    for leftover in (build, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    _pip_unpack("go", build / "go")
    settings = {
        "GOROOT": str(build / "go/go"),
        "GOBIN": str(build / "bin"),
        "GOPATH": str(build / "modules"),
        "GOCACHE": str(build / "cache"),
        "GOTMPDIR": str(build),
        "GOTOOLCHAIN": "local",
        # Without this, the folder of the modules could not be deleted.
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    failed = "Centrifugo could not be built: is there a network, and free disk space? Start again to go on."
    _run([str(build / "go/go/bin/go"), "install", _CENTRIFUGO_MODULE], failed, {**os.environ, **settings})
    # The folder gets its final name last, so it is complete if it exists.
    (build / "bin").rename(folder)
    shutil.rmtree(build)


def _unpack_prometheus() -> None:
    # Installed, the package would start a service of its own.
    _unpack_packages(("prometheus",), prometheus.FOLDER)


def _unpack_packages(packages: Sequence[str], folder: Path) -> None:
    """Unpack apt's packages, without those that they depend on, into a folder."""
    if shutil.which("apt-get") is None:
        raise EmoStreamError(f"there is no apt-get here: put {' and '.join(packages)} on PATH and start again.")
    download = f"apt-get download {' '.join(packages)}"
    unpacked = folder.with_suffix(".new")
    for leftover in (unpacked, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    unpacked.mkdir(parents=True)
    _apt_update(remedy="apt-get update")
    _run(shlex.split(download), f"`{download}` failed: does this distribution have it?", cwd=unpacked)
    for package in unpacked.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)], f"{package.name} could not be unpacked.")
        package.unlink()
    # The folder gets its final name last, so it is complete if it exists.
    unpacked.rename(folder)


def _unpack_axe() -> None:
    folder = AXE.parents[1]
    unpacked = folder.with_suffix(".new")
    for leftover in (unpacked, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    _pip_unpack("axe", unpacked)
    # The folder gets its final name last, so it is complete if it exists.
    unpacked.rename(folder)


def _pip_unpack(name: str, folder: Path) -> None:
    """Unpack what requirements/{name}.txt names into a folder, without installing it."""
    options = ["--require-hashes", "--no-deps", "--no-user", "--target", str(folder), "-r", f"requirements/{name}.txt"]
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, *options], f"{name} could not be fetched: is there a network?", pip_environment(os.environ))


def _is_installed(name: str) -> bool:
    marker = _marker(name)
    return marker.exists() and marker.read_text() == _fingerprint(name) and _venv_works()


def _marker(name: str) -> Path:
    """Return the file that marks a complete installation. It is written last."""
    return VENV / f".installed-{name}"


def _fingerprint(name: str) -> str:
    """Return a hash of the pinned packages, our own metadata, and the path of the repository.

    If it changes, the packages are installed again.
    """
    files = [REPOSITORY / "requirements" / "build.txt", REPOSITORY / "requirements" / f"{name}.txt"]
    content = b"".join(path.read_bytes() for path in [*files, REPOSITORY / "pyproject.toml"])
    return hashlib.sha256(content + str(REPOSITORY).encode()).hexdigest()


def _venv_works() -> bool:
    # If the system's Python was upgraded or removed, the link in the environment is dangling.
    return (VENV / "bin" / "python").exists() and (VENV / "bin" / "pip").exists()


def _run(
    command: Sequence[str], failed: str, environment: dict[str, str] | None = None, cwd: Path = REPOSITORY
) -> None:
    """Run a command and show the newest line of its log. If it fails, raises EmoStreamError with the text `failed`."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        child = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT)
    started = time.monotonic()
    interval_seconds = 0.5 if output.can_rewrite() else 15
    while True:
        try:
            status = child.wait(interval_seconds)
        except subprocess.TimeoutExpired:
            _show_progress(f"{time.monotonic() - started:4.0f} s  {_log_tail(1)}")
        else:
            break
    if output.can_rewrite():
        print(end="\r\033[K")
    if status != 0:
        raise EmoStreamError(f"{failed}\nThe end of {LOG}:\n{_log_tail(12)}")


def _show_progress(text: str) -> None:
    line = text[: shutil.get_terminal_size().columns - 1]
    if output.can_rewrite():
        print(end=f"\r\033[K{line}", flush=True)
    else:
        print(line, flush=True)


def _log_tail(lines: int) -> str:
    written = LOG.read_text(encoding="utf-8", errors="replace").splitlines() if LOG.exists() else []
    return "\n".join([line.strip() for line in written if line.strip()][-lines:])


def _check_disk(steps: Sequence[Step]) -> None:
    free_gb = shutil.disk_usage(REPOSITORY).free / 1e9
    if steps and free_gb < NEEDED_DISK_GB:
        raise EmoStreamError(
            f"{REPOSITORY} has {free_gb:.1f} GB free and the set-up needs {NEEDED_DISK_GB}: free some space and start "
            "again."
        )


def prepare(purpose: Purpose) -> None:
    """Print and carry out the missing steps. If one fails, raises EmoStreamError with what the user can do."""
    if not missing_steps(purpose):
        return
    build = LOG.parent
    checkout.check(REPOSITORY, [REPOSITORY, VENV, build, *build.glob("*")])
    build.mkdir(exist_ok=True)
    with _alone():
        # Another set-up may have carried out the steps in the meantime.
        if steps := missing_steps(purpose):
            _carry_out(steps)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other set-up runs in this checkout. Two at once would delete each other's files."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is running in this checkout: waiting until it is done.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _carry_out(steps: Sequence[Step]) -> None:
    _check_disk(steps)
    print("Before the first start, EmoStream installs what is missing here:", flush=True)
    for number, step in enumerate(steps, 1):
        download = f"at most {step.download_mb} MB" if step.download_mb else "nothing"
        print(f"  {number}. {step.what}: {download} to download", flush=True)
    for number, step in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {step.what.partition(':')[0]} ...", flush=True)
        started = time.monotonic()
        step.run()
        print(f"[{number}/{len(steps)}] done in {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    output.tolerate_encoding()
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"set-up: Python {sys.version.split()[0]} is too old: 3.11 or later is needed as python3.")
    try:
        prepare(PURPOSES[sys.argv[1]])
    except EmoStreamError as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        sys.exit("\nset-up: interrupted; start again to go on.")


if __name__ == "__main__":
    main()
