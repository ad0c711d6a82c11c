"""What pip brings with each extra is what our own installations pin."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def named(file: str) -> set[str]:
    """The packages of requirements/FILE.in, without those of the files that it includes."""
    lines = (ROOT / "requirements" / f"{file}.in").read_text().splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def test_the_product_and_the_aggregator_need_what_is_pinned_for_them() -> None:
    assert sorted([*PROJECT["dependencies"], *EXTRAS["services"]]) == sorted(named("base"))
    assert set(EXTRAS["spark"]) == {"emostream[services]"} | named("spark")


def test_what_the_lab_needs_is_among_what_the_tests_and_load_generators_have() -> None:
    assert set(EXTRAS["lab"]) - {"emostream[spark]"} <= named("dev") | named("loadgen")
    assert named("loadgen") <= set(EXTRAS["lab"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_is_pinned_with_hashes(extra: str) -> None:
    pinned = (ROOT / "requirements" / "dev.txt").read_text()
    for requirement in {*EXTRAS[extra]} - {"emostream[spark]", "emostream[services]"}:
        assert f"\n{re.split('[=>]=', requirement)[0]}==" in pinned
