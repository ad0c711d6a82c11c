"""Whoever else reacts is told apart from the crowd by the names of its users."""

from emostream import model
from emostream_lab.account.ledger import sent_by_others


def test_only_strangers_are_counted_as_others_and_junk_is_nobodys() -> None:
    records = [
        model.encode([model.Reaction("crowd-1-7", "🔥", 1), model.Reaction("ada", "🎉", 1)]),
        model.encode(
            [model.EventReaction("crowd-1-7", "🔥", 1, "final"), model.EventReaction("ada", "🎉", 1, "final")]
        ),
        b"junk",
        b'{"user_id": "ada"}',
    ]
    assert sent_by_others(records, "crowd-1-") == {"main": {"🎉": 1}, "final": {"🎉": 1}}
