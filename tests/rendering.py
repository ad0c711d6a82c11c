"""Configurations as the roles write them."""

from pathlib import Path
from typing import Any

import jinja2
import yaml

ROLES = Path(__file__).parents[1] / "roles"


def rendered(template: str, **variables: object) -> str:
    """A configuration as its role writes it; `template` is its path below roles/."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["comment"] = "# {}".format
    source = (ROLES / template).read_text()
    return environment.from_string(source).render(ansible_managed="", **variables) + "\n"


def defaults(role: str) -> dict[str, Any]:
    """The defaults of a role's variables."""
    values: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    return values
