"""The events of an audience are `main` and numbered ones, as many as a record has room for."""

import pytest

from emostream import palette
from emostream.config import KafkaSettings
from emostream.errors import EmoStreamError
from emostream.events import table
from emostream.events.table import Definition
from emostream_lab.audience.events import check_room, names


def test_the_first_event_is_main() -> None:
    assert names("match", 1) == ["main"]
    assert names("match", 3) == ["main", "match-2", "match-3"]


def test_as_many_as_a_record_has_room_for_are_allowed() -> None:
    bound = KafkaSettings().max_record_bytes
    check_room(names("match", 1), 1 << 20)
    check_room(names("match", 1_000), bound)
    with pytest.raises(EmoStreamError, match=r"EVENTS=5000 is too many: a record has room for (\d+) such") as refused:
        check_room(names("match", 5_000), bound)
    most = int(str(refused.value).split(" such ")[0].split()[-1])
    check_room(names("match", most), bound)
    opened = {event: Definition("Match", palette.DEFAULT, "open", "0" * 11) for event in names("match", most)[1:]}
    table.check_room(opened, bound)
    with pytest.raises(EmoStreamError):
        check_room(names("match", most + 1), bound)
