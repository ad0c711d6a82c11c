"""Each role says what its variables are, and what they are by default."""

from typing import Any

import pytest
import yaml

from emostream_lab.roles import ROLES, defaults

NAMES = sorted(path.name for path in ROLES.iterdir())


def _options(role: str) -> dict[str, dict[str, Any]]:
    spec = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    options: dict[str, dict[str, Any]] = spec["argument_specs"]["main"].get("options") or {}
    return options


@pytest.mark.parametrize("role", NAMES)
def test_the_arguments_of_a_role_have_its_defaults(role: str) -> None:
    # What is computed has no default that could be said here.
    said = {
        name: value
        for name, value in (defaults(role) or {}).items()
        if "{{" not in str(value) and not _options(role).get(name, {}).get("required")
    }
    options = _options(role)
    assert {name: option["default"] for name, option in options.items() if "default" in option} == {
        name: value for name, value in said.items() if name in options
    }


@pytest.mark.parametrize("role", NAMES)
def test_the_readme_of_a_role_names_what_is_required(role: str) -> None:
    readme = (ROLES / role / "README.md").read_text()
    required = [name for name, option in _options(role).items() if option.get("required")]
    assert [name for name in required if f"`{name}`" not in readme] == []
