"""Which request bodies are valid. An invalid one is refused completely, with the reasons."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis.strategies import (
    binary,
    booleans,
    builds,
    characters,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    one_of,
    recursive,
    sampled_from,
    text,
)

from emostream import model, palette
from emostream.config import IngestSettings
from emostream.ingest import openapi
from emostream.ingest.validation import MAX_LISTED_ITEMS, MAX_TIMESTAMP_MS, InvalidError, NotJsonError, parse

PALETTE = palette.accepted(("default",))


def reaction(**fields: Any) -> dict[str, Any]:
    return {"user_id": "u1", "emoji_type": "🔥", "timestamp": 1_732_370_000_123, **fields}


def body_with(**raw: str) -> bytes:
    """A reaction whose fields are these pieces of JSON."""
    fields = {"user_id": '"u1"', "emoji_type": '"🔥"', "timestamp": "1", **raw}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


def stored(body: bytes) -> list[model.Reaction]:
    batch = parse(body, PALETTE)
    reactions = msgspec.json.decode(b"[" + batch.payload + b"]", type=list[model.Reaction])
    assert Counter(reaction.emoji_type for reaction in reactions) == batch.counts
    return reactions


def refusal(body: bytes) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse(body, PALETTE)
    return caught.value


def test_one_reaction_and_a_list_of_them() -> None:
    assert stored(json.dumps(reaction()).encode()) == [model.Reaction("u1", "🔥", 1_732_370_000_123)]
    many = [reaction(user_id=f"u{number}") for number in range(1_000)]
    assert [found.user_id for found in stored(json.dumps(many).encode())] == [f"u{number}" for number in range(1_000)]


def test_the_qualified_spelling_is_stored() -> None:
    assert stored(json.dumps(reaction(emoji_type="❤")).encode())[0].emoji_type == "❤️"


def test_fields_that_are_not_known_are_ignored_and_not_stored() -> None:
    assert stored(json.dumps(reaction(mood={"deep": [1]})).encode()) == stored(json.dumps(reaction()).encode())


@pytest.mark.parametrize(
    "raw",
    [
        {"user_id": '"' + "x" * 64 + '"'},
        {"user_id": '"' + "🔥" * 64 + '"'},
        {"user_id": '"\\ud83d\\ude00"'},
        {"timestamp": "0"},
        {"timestamp": str(MAX_TIMESTAMP_MS)},
    ],
)
def test_the_bounds_themselves_are_allowed(raw: dict[str, str]) -> None:
    assert len(stored(body_with(**raw))) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"fire",
        b"[1",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        body_with(timestamp="NaN"),
        body_with(timestamp="Infinity"),
        body_with(user_id='"\\ud800"'),
        body_with(user_id='"\\ude00\\ud83d"'),
        body_with(emoji_type='"\\udc00"'),
        body_with(mood="[" * 100_000 + "]" * 100_000),
        body_with().replace(b'"u1"', b'"\xff"'),
        body_with().replace(b'"u1"', b'"\xed\xa0\x80"'),
        body_with().replace(b'"u1"', b'"a\x00"'),
        b"\xef\xbb\xbf" + body_with(),
        body_with() + b" x",
        body_with().decode().encode("utf-16"),
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(NotJsonError, match="not JSON"):
        parse(body, PALETTE)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"user_id": '""'}, "user_id"),
        ({"user_id": '"' + "x" * 65 + '"'}, "user_id"),
        ({"user_id": '"a\\u0000"'}, "user_id"),
        ({"user_id": '"a\\n"'}, "user_id"),
        ({"user_id": "7"}, "user_id"),
        ({"user_id": "null"}, "user_id"),
        ({"emoji_type": '"fire"'}, "'fire' is not one emoji"),
        ({"emoji_type": '""'}, "is not one emoji"),
        ({"emoji_type": '"🔥🔥"'}, "is not one emoji"),
        ({"emoji_type": '"🦄"'}, "'🦄' is not one emoji of the palette"),
        ({"emoji_type": '["🔥"]'}, "emoji_type"),
        ({"timestamp": "true"}, "timestamp"),
        ({"timestamp": "1e308"}, "timestamp"),
        ({"timestamp": "1.5"}, "timestamp"),
        ({"timestamp": "-1"}, "timestamp"),
        ({"timestamp": str(MAX_TIMESTAMP_MS + 1)}, "timestamp"),
        ({"timestamp": "9" * 400}, "timestamp"),
        ({"timestamp": '"1"'}, "timestamp"),
        ({"timestamp": "null"}, "timestamp"),
    ],
)
def test_a_bad_field_is_named(raw: dict[str, str], named: str) -> None:
    (found,) = refusal(body_with(**raw)).items
    assert found.index == 0
    assert named in found.reason


@pytest.mark.parametrize("missing", ["user_id", "emoji_type", "timestamp"])
def test_a_missing_field_is_named(missing: str) -> None:
    fields = {name: value for name, value in reaction().items() if name != missing}
    assert missing in refusal(json.dumps(fields).encode()).items[0].reason


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"fire"', json.dumps([reaction()] * 1_001).encode()])
def test_what_holds_no_reactions_or_too_many(body: bytes) -> None:
    assert refusal(body).items == []


def test_one_bad_reaction_refuses_the_request_and_each_bad_one_is_listed_up_to_a_bound() -> None:
    mixed = [reaction(), reaction(timestamp=True), 5, reaction(), reaction(emoji_type="fire")]
    assert [found.index for found in refusal(json.dumps(mixed).encode()).items] == [1, 2, 4]
    many = refusal(json.dumps([reaction(timestamp=-1)] * 1_000).encode())
    assert len(many.items) == MAX_LISTED_ITEMS
    assert "1000 of 1000" in many.detail


def test_every_spelling_that_the_document_promises_is_counted_as_the_fully_qualified_emoji() -> None:
    spellings = palette.accepted(("any",))
    document = openapi.document(IngestSettings(), spellings)
    promised = document["components"]["schemas"]["PostedReaction"]["properties"]["emoji_type"]["enum"]
    assert {"⚽", "⚽\ufe0f", "⚽\ufe0e"} <= set(promised)
    for spelling in promised:
        batch = parse(json.dumps(reaction(emoji_type=spelling)).encode(), spellings)
        assert batch.counts == {spellings[spelling]: 1}


def test_a_long_wrong_emoji_is_not_sent_back_whole() -> None:
    assert len(refusal(body_with(emoji_type=f'"{"🔥" * 10_000}"')).items[0].reason) < 200


any_json = recursive(
    one_of(none(), booleans(), integers(), floats(), text(max_size=5)),
    lambda inner: one_of(
        lists(inner, max_size=4),
        dictionaries(sampled_from(["user_id", "emoji_type", "timestamp", "other"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(one_of(binary(max_size=200), builds(lambda value: json.dumps(value).encode(), any_json)))
def test_no_body_does_anything_else_than_being_taken_or_refused(body: bytes) -> None:
    try:
        batch = parse(body, PALETTE)
    except (InvalidError, NotJsonError):
        return
    assert batch.reactions >= 1


valid_reactions = builds(
    model.Reaction,
    user_id=text(characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=64),
    emoji_type=sampled_from(palette.DEFAULT),
    timestamp=integers(0, MAX_TIMESTAMP_MS),
)


@given(lists(valid_reactions, min_size=1, max_size=20))
def test_valid_reactions_are_stored_as_they_were_sent(reactions: list[model.Reaction]) -> None:
    assert stored(model.encode(reactions)) == reactions


def test_a_reaction_to_an_event_names_it_whatever_the_client_says() -> None:
    body = '{"user_id": "u", "emoji_type": "🔥", "timestamp": 5, "event": 7}'.encode()
    batch = parse(body, {"🔥": "🔥"}, "final")
    assert (batch.event, batch.counts) == ("final", {"🔥": 1})
    assert json.loads(batch.payload) == {"user_id": "u", "emoji_type": "🔥", "timestamp": 5, "event": "final"}
    assert "event" not in json.loads(parse(body, {"🔥": "🔥"}).payload)


def test_a_token_says_who_reacts_whatever_the_body_says() -> None:
    fire = {"emoji_type": "🔥", "timestamp": 1}
    batch = parse(model.encode([fire, {"user_id": "other", **fire}]), {"🔥": "🔥"}, "final", user_id="u1")
    assert [each["user_id"] for each in json.loads(f"[{batch.payload.decode()}]")] == ["u1", "u1"]
    single = parse(model.encode(fire), {"🔥": "🔥"}, user_id="u1")
    assert json.loads(single.payload) == {"user_id": "u1", "emoji_type": "🔥", "timestamp": 1}
    with pytest.raises(InvalidError) as invalid:
        parse(b'[{"emoji_type":"x","timestamp":1},{"timestamp":1}]', {"🔥": "🔥"}, user_id="u1")
    assert [item.index for item in invalid.value.items] == [0, 1]
