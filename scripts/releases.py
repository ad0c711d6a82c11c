"""Keeps which releases the hosts of an inventory ran, so that they can go back without a build and without network.

    releases.py note FOLDER MANIFEST      the hosts run this release: keep it, and the two before it
    releases.py choose FOLDER [RELEASE]   print the manifest to go back to, by default the last other one

FOLDER is build/releases/INVENTORY. It has the manifests of scripts/artifacts.py by release; their times say which was
noted last. Their archives stay in build/artifacts. It needs the standard library only.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.artifacts import ARTIFACTS, sha256

KEPT = 3
Manifest = dict[str, dict[str, Any]]


class RefusedError(Exception):
    """Hosts cannot go back, with the reason and what to do."""


def name_of(manifest: Manifest) -> str:
    """Return the name of a release: the same archives have the same one."""
    parts = sorted(f"{name} {entry['release']}" for name, entry in manifest.items())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def note(folder: Path, manifest: Path) -> bool:
    """Note that the hosts run this release, and return whether that is new. The three that were noted last are kept."""
    content = manifest.read_text()
    name = name_of(json.loads(content))
    known = _by_age(folder)
    if known and known[0].stem == name:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{name}.new"
    scratch.write_text(content)
    # After all others, whatever the clock says.
    now = max([time.time(), *(path.stat().st_mtime + 1 for path in known)])
    os.utime(scratch, (now, now))
    scratch.replace(folder / f"{name}.json")
    for older in _by_age(folder)[KEPT:]:
        older.unlink()
    return True


def choose(folder: Path, newest: Manifest, name: str = "") -> Path:
    """Return the manifest of the release `name`, or of the last one that is not the newest. Raises RefusedError.

    `newest` is the manifest that was made last, whether or not its release came to a host.
    """
    known = _by_age(folder)
    if name:
        found = [path for path in known if path.stem == name]
    else:
        found = [path for path in known if path.stem != name_of(newest)]
    if not found:
        wanted = f"release {name}" if name else "earlier release"
        raise RefusedError(
            f"there is no {wanted} to go back to. Known are: {_listed(known) or 'none'}. "
            "site.yml notes a release when it has ended well."
        )
    manifest = json.loads(found[0].read_text())
    _check_format(manifest, [newest, *(json.loads(path.read_text()) for path in known)])
    _check_archives(manifest)
    return found[0]


def _by_age(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def _listed(known: list[Path]) -> str:
    def noted(path: Path) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))

    return ", ".join(f"{path.stem} (noted {noted(path)})" for path in known)


def _check_format(manifest: Manifest, others: list[Manifest]) -> None:
    written = max(other["app"]["log_formats"]["written"] for other in others)
    read = manifest["app"]["log_formats"]["read"]
    if read < written:
        raise RefusedError(
            f"release {name_of(manifest)} reads records up to format {read}, and a later release writes format "
            f"{written}: it could not read the log. Go forward, with a mended release."
        )


def _check_archives(manifest: Manifest) -> None:
    for entry in manifest.values():
        path = ARTIFACTS / entry["file"]
        if not path.exists() or sha256(path) != entry["sha256"]:
            raise RefusedError(
                f"{path} is missing or was changed since it was made. Check out the code of that release, and run "
                "site.yml."
            )


def main() -> None:
    """Note a release, or choose one to go back to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("note", "choose"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("which", nargs="?", default="", help="for note: the manifest; for choose: the release")
    given = parser.parse_args()
    if given.what == "note":
        print("changed" if note(given.folder, Path(given.which)) else "unchanged")
        return
    try:
        print(choose(given.folder, json.loads((ARTIFACTS / "manifest.json").read_text()), given.which))
    except RefusedError as refused:
        sys.exit(f"releases: {refused}")


if __name__ == "__main__":
    main()
