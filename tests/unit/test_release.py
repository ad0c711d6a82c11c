"""What the deployment installs is listed with its licences, from the archives that it pushes."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import release
from scripts.release import UNKNOWN, jar, package

MANIFEST = "Manifest-Version: 1.0\r\nBundle-License: https://www.apache.org/lic\r\n enses/LICENSE-2.0\r\nOther: x\r\n"


def zipped(**files: str) -> bytes:
    """A jar with these files; `__` stands for `/`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, text in files.items():
            opened.writestr(name.replace("__", "/"), text)
    return content.getvalue()


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_both_files_list_what_is_in_the_newest_archives_once(tmp_path: Path) -> None:
    library = zipped(**{"META-INF__MANIFEST.MF": MANIFEST, "META-INF__maven__org.example__lib__pom.properties": ""})
    flask = b"Metadata-Version: 2.4\nName: Flask\nVersion: 3.1.2\nLicense-Expression: BSD-3-Clause\n\nThe text\n"
    site = "lib/python3.11/site-packages"
    archive(
        tmp_path / "base-1.tar", {f"{site}/flask-3.1.2.dist-info/METADATA": flask, f"{site}/spark/lib-1.2.jar": library}
    )
    archive(tmp_path / "kafka-1.tar", {"jars/lib-1.2.jar": library})
    archive(
        tmp_path / "app-1.tar",
        {"emostream-0.1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: emostream\nVersion: 0.1.0\n"},
    )
    archive(tmp_path / "base-0.tar", {"jars/old-1.0.jar": zipped()})
    manifest = {name: {"file": f"{name}-1.tar"} for name in ("base", "kafka", "app")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    release.write(tmp_path, tmp_path / "release")

    assert (tmp_path / "release" / "licences.txt").read_text() == (
        "Flask 3.1.2: BSD-3-Clause\nlib 1.2: https://www.apache.org/licenses/LICENSE-2.0\n"
    )
    sbom = json.loads((tmp_path / "release" / "sbom.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["specVersion"], sbom["metadata"]["component"]["version"]) == (
        "CycloneDX",
        "1.6",
        "0.1.0",
    )
    assert [each["purl"] for each in sbom["components"]] == ["pkg:pypi/flask@3.1.2", "pkg:maven/org.example/lib@1.2"]
    assert sbom["components"][1]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(library).hexdigest()}]
    assert sbom["components"][0]["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]


@pytest.mark.parametrize(
    ("files", "licences"),
    [
        ({"META-INF__MANIFEST.MF": MANIFEST}, "https://www.apache.org/licenses/LICENSE-2.0"),
        (
            {
                "META-INF__maven__org.a__lib__pom.properties": "",
                "META-INF__maven__org.a__lib__pom.xml": "<license>\n <name>MIT</name></license><license><name>B</name>",
            },
            "MIT OR B",
        ),
        ({"META-INF__maven__org.apache.kafka__lib__pom.properties": ""}, "Apache-2.0"),
        ({"META-INF__LICENSE": "\n      Apache License\n   Version 2.0, January 2004\n"}, "Apache-2.0"),
        # Those of another project within it are not its own.
        ({"META-INF__maven__org.apache.a__other__pom.properties": ""}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_a_jar_has_the_licence_that_it_states(files: dict[str, str], licences: str) -> None:
    assert jar("lib-1.2.jar", zipped(**files)).licences == licences


@pytest.mark.parametrize(
    ("header", "licences"),
    [
        ("Classifier: License :: OSI Approved :: MIT License\nLicense: see the file\n", "MIT License"),
        ("License: Apache 2.0\n", "Apache 2.0"),
        ("", UNKNOWN),
    ],
)
def test_a_package_has_the_licence_that_it_states(header: str, licences: str) -> None:
    metadata = f"Metadata-Version: 2.1\nName: lib\nVersion: 1.2\n{header}\nText\n"
    assert package(metadata.encode()).licences == licences


def test_a_component_without_a_licence_has_none_in_the_sbom() -> None:
    assert "licenses" not in jar("tool.jar", zipped()).as_cyclonedx()
    assert jar("tool.jar", zipped()).purl == "pkg:generic/tool"
