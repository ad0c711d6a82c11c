"""Parses the body of a request into reactions, or explains what is wrong with it. Pure: no input or output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from emostream import model
from emostream.model import MAIN, MAX_REACTIONS_PER_REQUEST, Counts, EventReaction, InvalidReaction, UserId

MIN_TIMESTAMP_MS = 0  # 1970
MAX_TIMESTAMP_MS = 253_402_300_799_999  # the end of 9999

# A refusal lists at most this many bad items: the first ones.
MAX_LISTED_ITEMS = 20
_MAX_SHOWN_CHARACTERS = 40


_Emoji = Annotated[
    str,
    msgspec.Meta(
        description=(
            "One emoji of the palette. U+FE0F, U+FE0E or neither may stand wherever Unicode allows a variation "
            "selector; all spellings of an emoji are counted as one."
        )
    ),
]
_Timestamp = Annotated[
    int,
    msgspec.Meta(
        ge=MIN_TIMESTAMP_MS,
        le=MAX_TIMESTAMP_MS,
        description="The tap's time on the viewer's clock, in ms since the epoch, without a fraction.",
        examples=[1732370000123],
    ),
]


class PostedReaction(msgspec.Struct):
    """One tap of one viewer. Fields besides these are ignored."""

    user_id: UserId
    emoji_type: _Emoji
    timestamp: _Timestamp


class _OwnReaction(msgspec.Struct):
    """One tap of the viewer whose token says who he is."""

    emoji_type: _Emoji
    timestamp: _Timestamp


_decode_items = model.with_one_error(msgspec.json.Decoder(PostedReaction | list[PostedReaction]).decode)
_decode_own_items = model.with_one_error(msgspec.json.Decoder(_OwnReaction | list[_OwnReaction]).decode)
_encode = msgspec.json.Encoder().encode


class NotJsonError(Exception):
    """The body is not JSON. The message says where."""


@dataclass
class InvalidError(Exception):
    """The body is JSON but not valid reactions. `items` are the first MAX_LISTED_ITEMS bad ones."""

    detail: str
    items: list[InvalidReaction]


@dataclass(frozen=True, slots=True)
class Batch:
    """The reactions of one request, which are all to one event.

    `counts` is the number of reactions by emoji. `payload` is their JSON, joined by commas but without brackets, so
    that it can be put into a record's list.
    """

    counts: Counts
    payload: bytes
    event: str = MAIN

    @property
    def reactions(self) -> int:
        return sum(self.counts.values())


def parse(body: bytes, palette: Mapping[str, str], event: str = MAIN, user_id: str | None = None) -> Batch:
    """Parse a request's body. `palette` maps each allowed spelling to the fully qualified emoji.

    All reactions are those of `user_id`, whatever the body says, unless that is None. Raises NotJsonError or
    InvalidError if any part is invalid. Then the whole request is refused.
    """
    try:
        items = _decode(body, user_id)
        if not 1 <= len(items) <= MAX_REACTIONS_PER_REQUEST:
            raise _wrong_number(len(items))
        counts: Counts = {}
        for item in items:
            emoji = item.emoji_type = palette[item.emoji_type]
            counts[emoji] = counts.get(emoji, 0) + 1
    except (msgspec.DecodeError, KeyError):
        # The fast path stops at the first error. `_explain` parses again to find every error for the client.
        raise _explain(body, palette, PostedReaction if user_id is None else _OwnReaction) from None
    if event == MAIN:
        return Batch(counts, _encode(items)[1:-1])
    named = [EventReaction(item.user_id, item.emoji_type, item.timestamp, event) for item in items]
    return Batch(counts, _encode(named)[1:-1], event)


def _decode(body: bytes, user_id: str | None) -> list[PostedReaction]:
    if user_id is None:
        decoded = _decode_items(body)
        return [decoded] if isinstance(decoded, PostedReaction) else decoded
    own = _decode_own_items(body)
    taps = [own] if isinstance(own, _OwnReaction) else own
    return [PostedReaction(user_id, tap.emoji_type, tap.timestamp) for tap in taps]


def _wrong_number(number: int) -> InvalidError:
    detail = f"A request holds 1 to {MAX_REACTIONS_PER_REQUEST} reactions, not {number}."
    return InvalidError(detail, [])


def _explain(
    body: bytes, palette: Mapping[str, str], item_type: type[PostedReaction | _OwnReaction]
) -> InvalidError | NotJsonError:
    try:
        decoded = model.decode(body, object)
    except msgspec.DecodeError as error:
        return NotJsonError(f"The body is not JSON: {error}.")
    if not isinstance(decoded, dict | list):
        return InvalidError("The body must be one reaction (an object) or a list of them.", [])
    items = decoded if isinstance(decoded, list) else [decoded]
    if not 1 <= len(items) <= MAX_REACTIONS_PER_REQUEST:
        return _wrong_number(len(items))
    problems = [(index, problem) for index, item in enumerate(items) if (problem := _problem(item, palette, item_type))]
    listed = [InvalidReaction(index, reason) for index, reason in problems[:MAX_LISTED_ITEMS]]
    return InvalidError(f"{len(problems)} of {len(items)} reactions are invalid; none was accepted.", listed)


def _problem(item: Any, palette: Mapping[str, str], item_type: type[PostedReaction | _OwnReaction]) -> str | None:
    try:
        reaction = msgspec.convert(item, item_type)
    except msgspec.ValidationError as error:
        return str(error)
    if reaction.emoji_type in palette:
        return None
    shown = reaction.emoji_type[:_MAX_SHOWN_CHARACTERS]
    return f"{shown!r} is not one emoji of the palette - at `$.emoji_type`"
