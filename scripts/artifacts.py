"""Makes the archives that Ansible pushes to the hosts: build/artifacts/NAME-SUM.tar, each a folder ready to be used.

Run it as `scripts/artifacts.py PYTHON PROCESSOR` with the values of the hosts, such as `3.11 x86_64`. It needs the
standard library and uv only. sha256 sums pin the contents: packages in requirements/*.txt, jars in
requirements/jars/*/SHA256SUMS. The name of an archive contains the sum of its sources. So an existing archive is kept,
and a changed one gets a new name on the hosts. manifest.json is written last and lists the newest archives with their
own sums, and the formats of records that our code reads and writes. The archives of releases to which hosts may go back
(scripts/releases.py) stay.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
ARTIFACTS = REPOSITORY / "build" / "artifacts"
JARS = REPOSITORY / "build" / "jars"
RELEASES = REPOSITORY / "build" / "releases"
REQUIREMENTS = REPOSITORY / "requirements"
LOGGING = REPOSITORY / "emostream_lab" / "processes" / "logging"
# Our own packages, by archive. Each is also a command, with - for _. Load generators get both.
PACKAGES = {"app": "emostream", "lab": "emostream_lab"}
_SITE = "lib/python{}/site-packages"


@dataclass(frozen=True)
class Target:
    """The Python (`3.11`) and the processor (`x86_64`) of the hosts."""

    python: str
    processor: str


@dataclass(frozen=True)
class Archive:
    """An archive: its name, its source files, and a function that fills a folder with its content."""

    name: str
    sources: tuple[Path, ...]
    fill: Callable[[Path, Target], None]

    def fingerprint(self, target: Target) -> str:
        digest = hashlib.sha256(f"{target}".encode())
        for path in (Path(__file__).resolve(), *self.sources):
            digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def archives() -> list[Archive]:
    """Return all archives: the jars of the servers, the packages of three requirements, EmoStream, and its lab."""
    return [
        Archive("zookeeper", _jar_sources("zookeeper", "zookeeper.xml"), _fill_zookeeper),
        Archive("kafka", _jar_sources("kafka", "kafka.properties"), _fill_kafka),
        _requirements("base"),
        _requirements("spark", jars="spark"),
        _requirements("loadgen", code=("app", "lab")),
        _code("app", "pyproject.toml"),
        _code("lab", "locustfile.py"),
    ]


def make_all(target: Target) -> bool:
    """Make the missing archives and the manifest, and return whether any was made. Exits with a message on failure."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    manifest_path = ARTIFACTS / "manifest.json"
    known = json.loads(manifest_path.read_text()) if manifest_path.exists() else {}
    manifest = {}
    changed = False
    for archive in archives():
        release = archive.fingerprint(target)
        path = ARTIFACTS / f"{archive.name}-{release}.tar"
        if not path.exists():
            _make(archive, target, path)
            changed = True
            known.pop(archive.name, None)
        entry = known.get(archive.name, {})
        if entry.get("release") != release:
            entry = {"release": release, "file": path.name, "sha256": sha256(path)}
        manifest[archive.name] = entry
    manifest["app"]["log_formats"] = log_formats()
    _write_last(manifest_path, json.dumps(manifest, indent=2))
    _remove_others(manifest)
    return changed


def log_formats() -> dict[str, int]:
    """Return the formats of records: up to which one our code reads (`read`), and which one it writes (`written`)."""
    model = (REPOSITORY / PACKAGES["app"] / "model.py").read_text()
    return {
        name.lower(): int(number) for name, number in re.findall(r"^LOG_FORMAT_(\w+) = (\d+)$", model, re.MULTILINE)
    }


def _remove_others(manifest: dict[str, dict[str, Any]]) -> None:
    """Remove the archives that neither this manifest names nor that of a release to which hosts may go back."""
    kept = [manifest, *(json.loads(path.read_text()) for path in RELEASES.glob("*/*.json"))]
    files = {entry["file"] for each in kept for entry in each.values()}
    for path in ARTIFACTS.glob("*.tar"):
        if path.name not in files:
            path.unlink()


def wrong_sums() -> list[str]:
    """Return the archives whose content no longer matches the manifest."""
    manifest = json.loads((ARTIFACTS / "manifest.json").read_text())
    return [entry["file"] for entry in manifest.values() if sha256(ARTIFACTS / entry["file"]) != entry["sha256"]]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _jar_sources(name: str, log_configuration: str) -> tuple[Path, ...]:
    sums = (REQUIREMENTS / "jars" / each / "SHA256SUMS" for each in (name, "monitoring"))
    return (*sums, LOGGING / log_configuration)


def _code(name: str, *others: str) -> Archive:
    """Return the archive of one of PACKAGES and other files. Dependencies are in other archives: they change rarely."""
    package = sorted(path for path in (REPOSITORY / PACKAGES[name]).rglob("*") if _is_shipped(path))
    sources = [*(REPOSITORY / other for other in others), *package]

    def fill(folder: Path, target: Target) -> None:
        for path in sources:
            copied = folder / path.relative_to(REPOSITORY)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
        if name == "app":
            _describe_distribution(folder)
        _compile(folder, target)

    return Archive(name, tuple(sources), fill)


def _requirements(name: str, jars: str = "", code: Sequence[str] = ("app",)) -> Archive:
    """Return the archive of a virtual environment with requirements/NAME.txt. It imports our code from `code`."""
    sources = [REQUIREMENTS / f"{name}.txt"]
    if jars:
        sources.append(REQUIREMENTS / "jars" / jars / "SHA256SUMS")

    def fill(folder: Path, target: Target) -> None:
        site = folder / _SITE.format(target.python)
        _install(name, site, target)
        (site / "emostream.pth").write_text("".join(f"/opt/emostream/{archive}/current\n" for archive in code))
        if jars:
            _copy_jars(jars, folder / "jars")
        _make_environment(folder, [PACKAGES[archive] for archive in code])
        _compile(folder, target)

    return Archive(name, tuple(sources), fill)


def _describe_distribution(folder: Path) -> None:
    """Write the metadata that `emostream --version` reads, like an installation does."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    information = folder / f"{project['name']}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )


def _is_shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


def _install(name: str, site: Path, target: Target) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        sys.exit("artifacts: uv is missing: `make setup` installs it.")
    command = [uv, "pip", "install", "--quiet", "--target", str(site), "--python-version", target.python]
    command += ["--python-platform", f"{target.processor}-unknown-linux-gnu", "--link-mode", "copy"]
    # Only wheels are allowed. pyspark is the exception: it is published only as source, and is pure Python.
    command += ["--require-hashes", "--only-binary", ":all:", "--no-binary", "pyspark"]
    command += ["--build-constraint", str(REQUIREMENTS / "build.txt"), "-r", str(REQUIREMENTS / f"{name}.txt")]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"artifacts: the packages of requirements/{name}.txt could not be had: is the network there?")


def _make_environment(folder: Path, packages: Iterable[str]) -> None:
    """Turn the folder into a relocatable virtual environment of the hosts' Python, with commands for `packages`."""
    binaries = folder / "bin"
    # The scripts of packages refer to this machine's Python. On the hosts, `bin/python -m` replaces them.
    binaries.mkdir(exist_ok=True)
    (binaries / "python").symlink_to("/usr/bin/python3")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for package in packages:
        launcher = binaries / package.replace("_", "-")
        launcher.write_text(f'#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/python" -m {package} "$@"\n')
        launcher.chmod(0o755)


def _compile(folder: Path, target: Target) -> None:
    """Compile for the hosts' Python if this machine has it. Otherwise the hosts compile after unpacking."""
    python = shutil.which(f"python{target.python}")
    if python is None:
        return
    # Services may not write there, so they cannot compile. The files of the archive have no dates, so Python cannot use
    # dates to validate compiled files.
    options = ["-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    # Some packages contain code templates that are not valid Python and are never imported.
    subprocess.run([python, "-m", "compileall", *options, str(folder)], check=False, stdout=subprocess.DEVNULL)
    (folder / ".compiled").touch()


def _fill_zookeeper(folder: Path, target: Target) -> None:  # noqa: ARG001
    _fill_server(folder, "zookeeper", LOGGING / "zookeeper.xml", "logback.xml")


def _fill_kafka(folder: Path, target: Target) -> None:  # noqa: ARG001
    _fill_server(folder, "kafka", LOGGING / "kafka.properties", "log4j.properties")


def _fill_server(folder: Path, name: str, log_configuration: Path, as_name: str) -> None:
    # What tells the server's metrics is in a folder of its own: Kafka's class path does without it.
    for jars, folder_name in ((name, "jars"), ("monitoring", "monitoring")):
        _copy_jars(jars, folder / folder_name)
    shutil.copyfile(log_configuration, folder / as_name)


def _copy_jars(name: str, folder: Path) -> None:
    """Copy a set of jars. Before they are fetched anew, they may be of another version than the sums."""
    lines = (REQUIREMENTS / "jars" / name / "SHA256SUMS").read_text().splitlines()
    pinned = {file: pinned_sum for pinned_sum, file in (line.split() for line in lines)}
    if {path.name: sha256(path) for path in (JARS / name).glob("*.jar")} != pinned:
        sys.exit(
            f"artifacts: build/jars/{name} is not what requirements/jars/{name}/SHA256SUMS says: run "
            "`python -m emostream_lab.machine.jars`."
        )
    shutil.copytree(JARS / name, folder, ignore=shutil.ignore_patterns(".*"))


def _make(archive: Archive, target: Target, path: Path) -> None:
    print(f"artifacts: making {path.name} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=ARTIFACTS) as scratch:
        folder = Path(scratch) / "content"
        folder.mkdir()
        archive.fill(folder, target)
        packed = Path(scratch) / "archive.tar"
        # Jars and compiled extensions hardly shrink: compression would take longer than it saves in transfer.
        with tarfile.open(packed, "w") as tar:
            for name in _members(folder):
                tar.add(folder / name, arcname=name, recursive=False, filter=_anonymous)
        packed.replace(path)


def _members(folder: Path) -> Iterable[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove dates and owners, so that the same content gives the same archive."""
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _write_last(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(text)
    scratch.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", help="the hosts' Python, such as 3.11")
    parser.add_argument("processor", help="the hosts' processor, such as x86_64")
    arguments = parser.parse_args()
    changed = make_all(Target(arguments.python, arguments.processor))
    if wrong := wrong_sums():
        sys.exit(f"artifacts: {', '.join(wrong)} in {ARTIFACTS} changed since made: delete them and start again.")
    print("changed" if changed else "unchanged")


if __name__ == "__main__":
    main()
