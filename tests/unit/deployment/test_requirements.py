"""A control node installs what the playbooks run there, and not what tests the project."""

from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"


def _packages(name: str) -> set[str]:
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith(" ")}


def test_a_control_node_has_ansible_and_our_commands_and_no_tests() -> None:
    deploy = _packages("deploy")
    names = {package.partition("==")[0] for package in deploy}
    assert {"ansible-core", "uv"} <= names
    # The playbooks run `emostream events apply` and others there.
    assert _packages("base") <= deploy
    assert not {"ansible-lint", "yamllint", "pytest", "pytest-testinfra", "locust", "pyspark"} & names


def test_the_project_is_tested_with_the_versions_of_the_control_node() -> None:
    assert _packages("deploy") <= _packages("dev")
