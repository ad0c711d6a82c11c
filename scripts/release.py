"""Writes what the deployment installs on hosts, with its licences: build/release/sbom.cdx.json and licences.txt.

Run it as `scripts/release.py`, after scripts/artifacts.py. It reads the archives that Ansible pushes, so it finds the
Python packages, the jars, and the jars within packages, and nothing that only tests need. The SBOM is CycloneDX 1.6.
Standard library only, like scripts/artifacts.py.
"""

import hashlib
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[1]
ARTIFACTS = REPOSITORY / "build" / "artifacts"
RELEASE = REPOSITORY / "build" / "release"
# Of a jar or a package that does not say it.
UNKNOWN = "not stated"
_APACHE = "Apache-2.0"
_CLASSIFIER = "License :: OSI Approved :: "
_LICENSE_TAG = re.compile(rb"<license>\s*<name>\s*(.*?)\s*</name>", re.DOTALL)
_LICENSE_FILE = re.compile(r"(META-INF/)?LICENSE(\.txt)?")
_APACHE_TEXT = re.compile(rb"Apache License\s+Version 2\.0")
_JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d.*)\.jar")


@dataclass(frozen=True, order=True)
class Component:
    """A Python package or a jar. `licences` are as it states them; `sha256` is that of a jar."""

    name: str
    version: str
    purl: str
    licences: str
    sha256: str = ""

    def as_cyclonedx(self) -> dict[str, object]:
        found: dict[str, object] = {
            "type": "library",
            "bom-ref": f"{self.purl}#{self.sha256}" if self.sha256 else self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }
        if self.licences != UNKNOWN:
            found["licenses"] = [{"license": {"name": self.licences}}]
        if self.sha256:
            found["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        return found


def components(archive: Path) -> Iterator[Component]:
    """Yield the packages and jars of an archive of scripts/artifacts.py."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            file = tar.extractfile(member) if member.isfile() else None
            if file and path.suffix == ".jar":
                yield jar(path.name, file.read())
            elif file and path.name == "METADATA" and path.parent.suffix == ".dist-info":
                yield package(file.read())


def package(metadata: bytes) -> Component:
    """Return the component of a Python package, by the content of its METADATA."""
    said = BytesParser().parsebytes(metadata, headersonly=True)
    name, version = said["Name"], said["Version"]
    classified = [each.removeprefix(_CLASSIFIER) for each in said.get_all("Classifier", []) if _CLASSIFIER in each]
    # The field License may hold a whole text.
    text = (said["License"] or "").strip().partition("\n")[0][:80]
    licences = said["License-Expression"] or " OR ".join(classified) or text or UNKNOWN
    return Component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}", licences)


def jar(file: str, content: bytes) -> Component:
    """Return the component of a jar, by its name and by what Maven or OSGi wrote into it."""
    named = _JAR.fullmatch(file)
    name, version = (named["name"], named["version"]) if named else (file.removesuffix(".jar"), "")
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        names = set(opened.namelist())
        # A jar that contains others has their coordinates too.
        [group] = [each.split("/")[2] for each in sorted(names) if each.endswith(f"/{name}/pom.properties")][:1] or [""]
        manifest = opened.read("META-INF/MANIFEST.MF") if "META-INF/MANIFEST.MF" in names else b""
        pom = f"META-INF/maven/{group}/{name}/pom.xml"
        licences = _bundle_license(manifest) or _pom_licences(opened.read(pom) if pom in names else b"")
        texts = [opened.read(each)[:400] for each in names if _LICENSE_FILE.fullmatch(each)]
    if not licences:
        # The Apache Software Foundation has one licence for all that it publishes.
        is_apache = group.startswith("org.apache.") or any(_APACHE_TEXT.search(text) for text in texts)
        licences = _APACHE if is_apache else UNKNOWN
    purl = f"pkg:maven/{group}/{name}@{version}" if group else f"pkg:generic/{name}" + (version and f"@{version}")
    return Component(name, version, purl, licences, hashlib.sha256(content).hexdigest())


def _bundle_license(manifest: bytes) -> str:
    # A long line is continued on the next one, after a space.
    lines = manifest.decode(errors="replace").replace("\r\n", "\n").replace("\n ", "").splitlines()
    [value] = [line.partition(":")[2].strip() for line in lines if line.startswith("Bundle-License:")][:1] or [""]
    return value


def _pom_licences(pom: bytes) -> str:
    return " OR ".join(name.decode(errors="replace") for name in _LICENSE_TAG.findall(pom))


def sbom(found: list[Component], version: str) -> dict[str, object]:
    """Return the CycloneDX document of these components."""
    product = {"type": "application", "bom-ref": "emostream", "name": "emostream", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product},
        "components": [each.as_cyclonedx() for each in found],
    }


def table(found: list[Component]) -> str:
    """Return the list of licences: a line for each component."""
    return "".join(f"{each.name} {each.version}: {each.licences}\n" for each in found)


def write(artifacts: Path, release: Path) -> list[Component]:
    """Write both files about the newest archives, and return what they list. The package emostream is the product."""
    manifest = json.loads((artifacts / "manifest.json").read_text())
    found = {each for entry in manifest.values() for each in components(artifacts / entry["file"])}
    [version] = {each.version for each in found if each.name == "emostream"} or {""}
    listed = sorted(each for each in found if each.name != "emostream")
    release.mkdir(parents=True, exist_ok=True)
    (release / "sbom.cdx.json").write_text(json.dumps(sbom(listed, version), indent=2) + "\n")
    (release / "licences.txt").write_text(table(listed))
    return listed


def main() -> None:
    """Write both files, and say what they hold."""
    if not (ARTIFACTS / "manifest.json").exists():
        sys.exit("release: there are no archives in build/artifacts: `make release` makes them.")
    listed = write(ARTIFACTS, RELEASE)
    unknown = sum(each.licences == UNKNOWN for each in listed)
    jars = sum(bool(each.sha256) for each in listed)
    print(f"release: {len(listed) - jars} Python packages and {jars} jars are in {RELEASE.relative_to(REPOSITORY)};")
    print(f"release: {unknown} of them do not state their licence.")


if __name__ == "__main__":
    main()
