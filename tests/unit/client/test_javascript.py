"""The JavaScript client does what clients/cases.json says, in Node, and its npm package is as it should be."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "clients" / "javascript"


def read(name: str) -> dict[str, object]:
    return dict(json.loads((PACKAGE / name).read_text()))


def test_it_passes_its_tests_in_node() -> None:
    node = shutil.which("node")
    assert node is not None, "node is not on PATH: `make test-unit` installs it"
    subprocess.run([node, "build.js"], cwd=PACKAGE, check=True)
    ran = subprocess.run([node, "--test"], cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (passed,) = [int(line.split()[2]) for line in ran.stdout.splitlines() if line[1:].strip().startswith("pass ")]
    assert passed > 50


def test_its_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert read("package.json")["version"] == read("package-lock.json")["version"] == project["version"]


def test_its_lock_file_holds_hashes_and_no_address() -> None:
    lock = (PACKAGE / "package-lock.json").read_text()
    assert '"integrity": "sha512-' in lock
    assert "resolved" not in lock
    assert "http" not in lock


def test_its_readme_shows_the_example_that_runs_in_the_tests() -> None:
    example = (PACKAGE / "example.js").read_text()
    assert f"<!-- example.js -->\n```js\n{example}```\n" in (PACKAGE / "README.md").read_text()
