"""What `emostream events` asks for, and how a list of events differs from the table."""

import json
from collections.abc import Sequence

import pytest

from emostream import palette
from emostream.errors import EmoStreamError
from emostream.events.table import Definition, State, Table
from emostream.operate import events
from emostream.operate.events import Wanted


def definition(state: State = "open", **changed: object) -> Definition:
    fields = {"title": "A match", "palette": ("🔥",), "state": state, "stream": "00000000064", **changed}
    return Definition(**fields)  # type: ignore[arg-type]


class FakeOperator:
    """The table, and the ids of the events that were to be brought about."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.asked: list[str] = []

    def table(self) -> Table:
        return self._table

    def bring_about(self, wanted: Sequence[Wanted]) -> None:
        assert not self.asked, "all is one change"
        self.asked = [each.event for each in wanted]


WANTED = [
    Wanted("new", "A match", ["🔥"]),
    Wanted("same", "A match", ["🔥"]),
    Wanted("changed", "Another match", ["🔥", "👏"], listed=False),
    Wanted("again", "A match", ["🔥"]),
    Wanted("over", state="closed"),
    Wanted("closed", state="closed"),
    Wanted("never", state="closed"),
]
TABLE = {
    "same": definition(),
    "changed": definition(),
    "again": definition("closed"),
    "over": definition(),
    "closed": definition("closed"),
    "not in the list": definition(),
}


@pytest.mark.parametrize("check", [True, False])
def test_a_list_is_applied_where_it_differs_from_the_table(check: bool) -> None:
    operator = FakeOperator(TABLE)
    assert events.apply(operator, WANTED, check=check) == [  # type: ignore[arg-type]
        "new: open it",
        "changed: set title, palette, listed",
        "again: open it",
        "over: close it",
    ]
    assert operator.asked == ([] if check else ["new", "changed", "again", "over"])


def test_a_list_that_names_the_id_alone_opens_it_with_the_defaults() -> None:
    (wanted,) = events.read_list(b'[{"event": "final"}]')
    assert (wanted.options.title, wanted.options.palette, wanted.options.listed) == ("final", ("default",), True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "this is no JSON list of events"),
        (b'{"event": "final"}', "this is no JSON list of events"),
        (b'[{"event": "final", "tittle": "x"}]', "`tittle`"),
        (b'[{"event": "final", "state": "gone"}]', "'gone'"),
        (b'[{"event": "final"}, {"event": "b"}, {"event": "final"}]', "names final more than once"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(EmoStreamError, match=message):
        events.read_list(content)


def test_an_id_that_cannot_be_opened_is_refused_before_it_is_tried() -> None:
    with pytest.raises(EmoStreamError, match="main always exists"):
        events.apply(FakeOperator({}), [Wanted("main")], check=True)  # type: ignore[arg-type]


def test_events_are_shown_main_first() -> None:
    lines = events.lines({"b": definition("closed", listed=False), "a": definition(title="India – Australia")})
    assert [line.split(maxsplit=4) for line in lines] == [
        ["EVENT", "STATE", "LISTED", "EMOJI", "TITLE"],
        ["main", "open", "yes"],
        ["a", "open", "yes", "1", "India – Australia"],
        ["b", "closed", "no", "1", "A match"],
    ]
    shown = json.loads(events.describe("a", {"a": definition()}))
    assert shown == {
        "event": "a",
        "title": "A match",
        "palette": ["🔥"],
        "state": "open",
        "stream": "00000000064",
        "listed": True,
        "ended_ms": None,
    }


def test_a_palette_is_spelt_as_unicode_does_and_has_a_bound() -> None:
    assert events._emoji(["❤"]) == ("❤️",)
    with pytest.raises(EmoStreamError, match="has 65 emoji"):
        events._emoji(sorted(set(palette.accepted(("any",)).values()))[:65])
