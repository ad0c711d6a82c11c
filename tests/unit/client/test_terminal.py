"""What the terminal client refuses before it draws anything."""

import pytest
from click.testing import CliRunner

from emostream import cli


@pytest.mark.parametrize("command", [["client", "--json"], ["verify", "--subscribers", "1"]])
@pytest.mark.parametrize("event", ["Final", "a" * 49, "-final", "a/b", ".", "..", ""])
def test_what_is_no_id_of_an_event_is_refused_before_anybody_is_asked(event: str, command: list[str]) -> None:
    refused = CliRunner().invoke(cli.main, [*command, "--event", event])
    assert refused.exit_code == 1
    assert "is no id of an event: it has 1 to 48 of a-z, 0-9 and -, and does not begin with -" in refused.stderr
