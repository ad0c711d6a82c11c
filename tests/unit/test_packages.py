"""The product does not import the lab, which tiers' hosts do not have. The set-up needs no package."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import artifacts

ROOT = Path(__file__).parents[2]
PRODUCT = sorted((ROOT / "emostream").rglob("*.py"))
TIERS = ["ingest", "aggregator", "publisher", "subscriber", "registry", "audit", "canary"]
SET_UP = ["emostream_lab.machine.bootstrap", "emostream_lab.machine.jars", "emostream_lab.machine.prometheus"]


def _imported(source: str) -> Iterator[str]:
    """The modules that code imports, at any depth of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_are_found_inside_of_functions_too() -> None:
    assert list(_imported("import a.b, c\ndef f():\n    from d.e import g\n")) == ["a.b", "c", "d.e", "d.e.g"]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_product_imports_nothing_of_the_lab_or_the_tests(path: Path) -> None:
    tops = {module.partition(".")[0] for module in _imported(path.read_text())}
    assert not tops & {"emostream_lab", "tests", "scripts", "locust"}


@pytest.mark.parametrize("tier", TIERS)
def test_no_tier_imports_another_one(tier: str) -> None:
    folder = ROOT / "emostream" / tier
    modules = {module for path in folder.rglob("*.py") for module in _imported(path.read_text())}
    others = {f"emostream.{other}" for other in TIERS if other != tier}
    assert modules
    assert not [module for module in modules if ".".join(module.split(".")[:2]) in others]


@pytest.mark.parametrize("module", SET_UP)
def test_the_set_up_imports_the_standard_library_alone(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    # Without the site's packages, as on a fresh machine.
    command = [sys.executable, "-S", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    ours = {"emostream", "emostream_lab", "__main__", "__mp_main__"}
    assert set(found.stdout.split()) - ours <= set(sys.stdlib_module_names)


# What `pip install emostream[client]` does not bring.
OF_SERVICES = [
    "click",
    "cryptography",
    "flask",
    "granian",
    "kafka",
    "kazoo",
    "prometheus_client",
    "pydantic_settings",
    "textual",
    "uvloop",
]


def without_services(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where only the client library is installed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({OF_SERVICES!r})); {code}"
    return subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_client_library_needs_nothing_of_the_services() -> None:
    ran = without_services("import emostream.client as client; print(len(client.__all__))")
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 20


def test_the_command_says_what_it_needs_where_only_the_client_is_installed() -> None:
    ran = without_services("from emostream.__main__ import main; main()")
    assert ran.returncode == 1
    assert ran.stderr.startswith("emostream: the package click is not installed: `pip install 'emostream[services]'`")


def test_the_lab_is_in_an_archive_of_its_own() -> None:
    tops = {
        archive.name: {path.relative_to(ROOT).parts[0] for path in archive.sources}
        for archive in artifacts.archives()
        if archive.name in artifacts.PACKAGES
    }
    assert tops == {"app": {"pyproject.toml", "emostream"}, "lab": {"locustfile.py", "emostream_lab"}}
