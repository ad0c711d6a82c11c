"""The documentation is complete: it lists all settings and metrics, and its links work."""

import re
from pathlib import Path

import pytest

from emostream.operate import reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_lists_every_setting_and_metric_as_the_code_has_them() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == reference.configuration_page(), "run `emostream config reference > docs/configuration.md`"


def test_the_page_on_security_has_the_tables_of_rights_as_the_code_has_them() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    between = page.partition("`emostream acls table`. -->\n")[2].partition("<!-- The end of that part. -->")[0]
    assert between == reference.rights_tables(), "run `emostream acls table`, and put what it prints there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_to_a_file_or_heading_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in _anchors(linked), f"{page.name} links to {target}"


@pytest.mark.parametrize("package", ["emostream", "emostream_lab"])
def test_the_map_of_the_code_has_a_line_for_each_folder(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = {folder.parent.name for folder in (ROOT / package).glob("*/__init__.py")}
    assert folders
    assert folders == set(re.findall(rf"^\| \[\w+\]\(\.\./{package}/(\w+)\)", page, flags=re.MULTILINE))


def _anchors(page: Path) -> set[str]:
    """The headings as GitHub makes links of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
