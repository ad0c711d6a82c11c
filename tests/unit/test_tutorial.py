"""The tutorial sends a reader to functions that exist, in the files where it says they are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
NAMED = re.findall(r"`(#?\w+)`\s+in\s+\[`([^`]+)`\]\(\.\./([^)]+)\)", TUTORIAL)


def test_there_is_something_to_check() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("name", "shown", "linked"), NAMED, ids=lambda value: value)
def test_a_name_is_defined_in_its_file(name: str, shown: str, linked: str) -> None:
    assert shown == linked
    code = (ROOT / linked).read_text()
    definition = rf"^\s*(?:export )?(?:async )?(?:def |class |function )?{re.escape(name)}\b\(?"
    assert re.search(definition, code, flags=re.MULTILINE), f"{name} is not defined in {linked}"
