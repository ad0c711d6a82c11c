"""Renders configurations as the roles of the deployment write them, for what runs on this machine."""

import re
from collections.abc import Mapping
from typing import Any

import jinja2
import yaml

from emostream_lab.machine.jars import REPOSITORY

ROLES = REPOSITORY / "roles"


def rendered(template: str, **variables: object) -> str:
    """Return a configuration as its role writes it; `template` is its path below roles/."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["comment"] = "# {}".format
    environment.filters["extract"] = _extract
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text) is not None
    source = (ROLES / template).read_text()
    return environment.from_string(source).render(ansible_managed="", **variables) + "\n"


def defaults(role: str) -> dict[str, Any]:
    """Return the defaults of a role's variables."""
    values: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    return values


def _extract(key: str, container: Mapping[str, Any], name: str) -> Any:
    return container[key][name]
