"""Unusual records that another program may write into `reactions`: invalid ones, and odd ones that are valid.

The tests of the aggregator, and of the code that checks the aggregator, use both tables. A chaos run writes records
of the first table into the topic.
"""

JUNK = {
    b"": "it is not a JSON list",
    b"junk": "it is not a JSON list",
    b"7": "it is not a JSON list",
    b"null": "it is not a JSON list",
    '{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}'.encode(): "it is not a JSON list",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}'.encode(): "it is not a JSON list",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}] and more'.encode(): "it is not a JSON list",
    b'[{"user_id": "u", "emoji_type": "\xff", "timestamp": 1}]': "it is not UTF-8",
    b"[" * 100_000 + b"]": "it does not parse as a list of reactions",
    b"[7]": "it does not parse as a list of reactions",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}, 7]'.encode(): "it does not parse as a list of reactions",
    "[{'user_id': 'u', 'emoji_type': '🔥', 'timestamp': 1}]".encode(): "it does not parse as a list of reactions",
    b"[null]": "an item lacks",
    b"[{}]": "an item lacks",
    '[{"emoji_type": "🔥", "timestamp": 1}]'.encode(): "an item lacks",
    b'[{"user_id": "u", "timestamp": 1}]': "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥"}]'.encode(): "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": "1"}]'.encode(): "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1e308}]'.encode(): "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": true}]'.encode(): "an item lacks",
    b'[{"user_id": "u", "emoji_type": 5, "timestamp": 1}]': "an emoji_type is not an emoji",
    b'[{"user_id": "u", "emoji_type": "fire", "timestamp": 1}]': "an emoji_type is not an emoji",
    '[{"user_id": "u", "emoji_type": "été", "timestamp": 1}]'.encode(): "an emoji_type is not an emoji",
    b'[{"user_id": "u", "emoji_type": "", "timestamp": 1}]': "an emoji_type is not an emoji",
    f'[{{"user_id": "u", "emoji_type": "{"🔥" * 17}", "timestamp": 1}}]'.encode(): "an emoji_type is not an emoji",
    # One invalid item makes the whole record invalid.
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}, {"user_id": "u"}]'.encode(): "an item lacks",
    b'[{"user_id": null, "emoji_type": "\xf0\x9f\x94\xa5", "timestamp": 1}]': "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1.0}]'.encode(): "an item lacks",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 9223372036854775808}]'.encode(): "an item lacks",
    '[{"user_id": "u", "emoji_type": "火", "timestamp": 1}]'.encode(): "an emoji_type is not an emoji",
    '[{"user_id": "u", "emoji_type": ["🔥"], "timestamp": 1}]'.encode(): "an emoji_type is not an emoji",
    '[{"user_id": "u", "emoji_type": {"1": "🔥"}, "timestamp": 1}]'.encode(): "an emoji_type is not an emoji",
    '[{"user_id": "u", "emoji_type": "🔥 🔥", "timestamp": 1}]'.encode(): "an emoji_type is not an emoji",
    '\n[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}]'.encode(): "it is not a JSON list",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1, "event": "A"}]'.encode(): "an event is not the id",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1, "event": ""}]'.encode(): "an event is not the id",
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1, "event": ["a"]}]'.encode(): "an event is not the id",
}
"""Maps each invalid record to the beginning of the reason that its dead letter gives."""

ODD = {
    b"[]": {},
    ' [ { "more": [1], "user_id": "u", "timestamp": 1, "emoji_type": "🔥" } ] '.encode(): {"🔥": 1},
    '[{"user_id": 5, "emoji_type": "🔥", "timestamp": 1}]'.encode(): {"🔥": 1},
    '[{"user_id": ["u"], "emoji_type": "🔥", "timestamp": -1}]'.encode(): {"🔥": 1},
    '[{"user_id":"", "emoji_type":"🔥", "timestamp":1}, {"user_id":"v", "emoji_type":"👏", "timestamp":2}]'.encode(): (
        {"🔥": 1, "👏": 1}
    ),
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1}] and ]'.encode(): {"🔥": 1},
    b'[{"user_id": "u", "emoji_type": "\\ud83d\\udd25", "timestamp": 1}]': {"🔥": 1},
    '[{"user_id": "\\ud83d", "emoji_type": "🔥", "timestamp": 1}]'.encode(): {"🔥": 1},
    '[{"user_id": 1, "user_id": "u", "emoji_type": "🔥", "timestamp": 1}]'.encode(): {"🔥": 1},
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1, "event": null}]'.encode(): {"🔥": 1},
    '[{"user_id": "u", "emoji_type": "🔥", "timestamp": 1, "event": "main"}]'.encode(): {"🔥": 1},
    f'[{{"user_id": "u", "emoji_type": "{"🔥" * 16}", "timestamp": 1}}]'.encode(): {"🔥" * 16: 1},
}
"""Maps each valid record to its counts by emoji."""
