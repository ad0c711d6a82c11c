"""The messages of the system and their JSON: reactions, swarms, messages to viewers, and what several services answer.

Times are integer milliseconds since the epoch, UTC. A reader ignores fields that it does not know.
The descriptions of fields are for the OpenAPI documents.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import msgspec

from emostream.errors import EmoStreamError

# The Kafka topics. Each cluster has one more topic, which has the cluster's name.
REACTIONS_TOPIC = "reactions"
DEAD_LETTER_TOPIC = "reactions.dead-letter"
WARMUP_TOPIC = "reactions.warm-up"
SWARMS_TOPIC = "swarms"

# The format of the records of `reactions`, `swarms` and the clusters' topics: which one is written, and up to which one
# is read. A release begins to read a new one, and the next release to write it: so hosts can go back by one release.
LOG_FORMAT_WRITTEN = 1
LOG_FORMAT_READ = 1

# This header of a record of `reactions` holds the count of each emoji in the record's list, as JSON. With it, the
# aggregator does not have to parse the list. The header is optional.
COUNTS_HEADER = "counts"
# The same for the reactions to other events than `main`: the counts by event, as JSON. It follows the header above,
# which then counts the reactions to `main` alone.
EVENT_COUNTS_HEADER = "event-counts"

# This one is the last. It names the requests, as JSON of `Requests`.
REQUESTS_HEADER = "requests"

MAX_REACTIONS_PER_REQUEST = 1_000

# The code with which a WebSocket is closed when its event has ended: nothing more will come.
CLOSE_ENDED = 4410

MAX_USER_ID_CHARACTERS = 64
UserId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_USER_ID_CHARACTERS,
        pattern=r"^[^\x00-\x1f\x7f]*\Z",
        description="Who reacts or watches; no control characters.",
        examples=["u1"],
    ),
]
"""The id of a user who reacts or watches: any text without control characters."""

MAIN = "main"
"""The default event. It always exists, and everything that names no event means it."""

MAX_EVENT_CHARACTERS = 48
EVENT_PATTERN = rf"[a-z0-9][a-z0-9-]{{0,{MAX_EVENT_CHARACTERS - 1}}}"
EventId = Annotated[str, msgspec.Meta(pattern=rf"^{EVENT_PATTERN}\Z")]

Count = Annotated[int, msgspec.Meta(ge=0)]
Counts = dict[str, int]
Url = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uri"})]


def is_event_id(text: str) -> bool:
    """Return whether an event can have this id. `main` is one."""
    return re.fullmatch(EVENT_PATTERN, text, re.ASCII) is not None


def check_event_id(text: str) -> None:
    """Raise EmoStreamError if no event can have this id."""
    if not is_event_id(text):
        raise EmoStreamError(
            f"{text!r} is no id of an event: it has 1 to {MAX_EVENT_CHARACTERS} of a-z, 0-9 and -, and does not begin "
            "with -."
        )


def event_path(event: str) -> str:
    """Return the path that each service has for an event. That of `main` is also the one of older services.

    Raises EmoStreamError if this is no id of an event: it could name another path.
    """
    check_event_id(event)
    return "/v1" if event == MAIN else f"/v1/events/{event}"


class Reaction(msgspec.Struct, frozen=True):
    """One tap of one viewer. A record of the topic `reactions` is a JSON list of reactions.

    `emoji_type` is one emoji, fully qualified (❤️, not ❤). `timestamp` is the time of the tap on the viewer's own clock.
    It is kept for analysis and never decides in which window the reaction counts.
    """

    user_id: str
    emoji_type: str
    timestamp: int


class EventReaction(msgspec.Struct, frozen=True):
    """A reaction to another event than `main`, as it stands in a record of `reactions`."""

    user_id: str
    emoji_type: str
    timestamp: int
    event: str


class Requests(msgspec.Struct, frozen=True):
    """The requests whose reactions a record of `reactions` holds.

    `ingest` is the `host:port` of the process that took them. `ids` are theirs, by event.
    """

    ingest: str
    ids: dict[str, list[str]]


class Window(msgspec.Struct, frozen=True):
    """The time that a swarm covers, by the aggregator's clock. Windows never overlap and never go back."""

    start: int
    end: int


class Progress(msgspec.Struct, frozen=True):
    """The checkpoint: how far `reactions` is counted. Every record of `swarms` carries one.

    `offsets` maps each partition to the offset after the last counted record. The partition is a decimal string,
    because keys in JSON are strings. `reactions_topic_id` is Kafka's id of the topic that these offsets belong to; a
    topic that is deleted and created again gets a new id. `dead_letters` is the number of records that were set aside
    since the stream began.
    """

    reactions_topic_id: str
    offsets: dict[str, int]
    dead_letters: int = 0


class End(msgspec.Struct, frozen=True, tag="end"):
    """The event is closed and all of it is counted: these are its final totals, and no swarm follows.

    It has a sequence of its own, after that of the last swarm.
    """

    id: str
    sequence: int
    totals: Counts


class EventPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event other than `main` in a record of `swarms`: all that is known of it as of this record.

    `stream` is that of this opening of the event. `sequence` is that of the last message to its viewers. `counts` and
    `swarm` are those of this micro-batch, and empty if it has no reaction to this event. `ended` stays true from the
    record that holds the end.
    """

    stream: str
    sequence: int
    totals: Counts
    counts: Counts = {}
    swarm: Counts = {}
    ended: bool = False

    def messages(self, window: Window) -> "list[Swarm | End]":
        """Return what the event's viewers get of this record.

        The record with the end, and each one after it, gives the end: with the same id until more is counted.
        """
        found: list[Swarm | End] = []
        if self.counts:
            # An event that has ended ends anew after each swarm.
            sequence = self.sequence - self.ended
            totals = {emoji: self.totals[emoji] for emoji in self.counts}
            reactions = sum(self.counts.values())
            name = message_id(self.stream, sequence)
            found.append(Swarm(name, sequence, window, reactions, self.counts, self.swarm, totals))
        if self.ended:
            found.append(End(message_id(self.stream, self.sequence), self.sequence, self.totals))
        return found


class Swarm(msgspec.Struct, frozen=True, tag="swarm"):
    """The counted reactions of one micro-batch.

    In Kafka (`swarms`, `clusterN`), `totals` holds every emoji since the stream began, and `progress` is set. A viewer
    gets a smaller form (`for_viewers`): it holds the totals of this swarm's emoji only, and no progress.

    All counts are those of `main`. The other events stand in `events`, which is absent while there are none. A viewer
    of another event gets swarms of that event, with the event's stream and sequence.
    """

    id: str
    sequence: int
    window: Window
    reactions: int
    counts: Counts
    swarm: Counts
    totals: Counts
    progress: Progress | msgspec.UnsetType = msgspec.UNSET
    events: dict[str, EventPart] | msgspec.UnsetType = msgspec.UNSET

    @property
    def parts(self) -> Mapping[str, EventPart]:
        """The events other than `main` in a record of `swarms`."""
        return self.events if isinstance(self.events, dict) else {}

    def for_viewers(self) -> "Swarm":
        """Return the swarm as a viewer of `main` gets it: without the rest, and the totals of its own emoji only."""
        totals = {emoji: self.totals[emoji] for emoji in self.counts}
        return msgspec.structs.replace(self, totals=totals, progress=msgspec.UNSET, events=msgspec.UNSET)


class CompactSwarm(msgspec.Struct, frozen=True, tag="swarm", omit_defaults=True):
    """A swarm without what a viewer can derive, for a viewer that asks for it (`?form=compact`).

    The sequence is that of the id, and `reactions` are the sum of `counts`. The totals are those before the swarm plus
    `counts`: a viewer knows them, because it gets every swarm in order. The number of an emoji in `swarm` is left out
    where it is the count divided by 1,000 and rounded up, which is the default rule.
    """

    id: str
    window: Window
    counts: Counts
    swarm: Counts = {}

    @classmethod
    def of(cls, swarm: Swarm) -> "CompactSwarm":
        """Leave out what `expand` derives."""
        shown = {emoji: number for emoji, number in swarm.swarm.items() if number != _shown(swarm.counts[emoji])}
        return cls(swarm.id, swarm.window, swarm.counts, shown)

    def expand(self, totals: Counts) -> Swarm:
        """Return the whole swarm. `totals` are those before it. Raises ValueError if the id is malformed."""
        position = parse_message_id(self.id)
        if position is None:
            raise ValueError(f"{self.id!r} is no id of a message")
        return Swarm(
            id=self.id,
            sequence=position[1],
            window=self.window,
            reactions=sum(self.counts.values()),
            counts=self.counts,
            swarm={emoji: self.swarm.get(emoji, _shown(count)) for emoji, count in self.counts.items()},
            totals={emoji: totals.get(emoji, 0) + count for emoji, count in self.counts.items()},
        )


def _shown(count: int) -> int:
    """What `swarm` holds for a count by the default rule. Part of the compact form, so it never changes."""
    return math.ceil(count / 1_000)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The first message to a new viewer: all totals as of `sequence`. The swarms after it follow."""

    id: str
    sequence: int
    totals: Counts


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """The viewer missed swarms that the history no longer holds: it must replace its totals with these."""

    id: str
    sequence: int
    totals: Counts


GoodbyeReason = Literal["draining", "slow", "expired"]


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """The subscriber ends the stream: the viewer asks the registry again, with a new token if the old one `expired`.

    The message has no id, so the viewer resumes from the last message that had one.
    """

    reason: GoodbyeReason = "draining"


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message to a viewer that asks for visible heartbeats (`?heartbeats=1`).

    `heartbeat_ms` is the length of the silence after which the viewer gets a heartbeat.
    """

    heartbeat_ms: int


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """A sign that the connection is alive although nothing was sent for `heartbeat_ms`. Sent only on request."""


_Name = Annotated[str, msgspec.Meta(max_length=256)]


class AssignmentRequest(msgspec.Struct, frozen=True):
    """A viewer's question to the registry: where to connect. Fields besides these are ignored."""

    user_id: UserId
    exclude: Annotated[
        tuple[Annotated[_Name, msgspec.Meta(examples=["cluster2/9005"])], ...],
        msgspec.Meta(max_length=64, description="Subscribers that just failed this viewer."),
    ] = ()
    event: Annotated[_Name, msgspec.Meta(description="The event to watch; `main` by default.", examples=[MAIN])] = MAIN


_STREAM_QUERY = (
    " The query takes `last_event_id=<id>`, to resume after that message; `form=compact`, for swarms without what a "
    'viewer can derive; and `heartbeats=1`: then `{"type":"hello","heartbeat_ms":3000}` comes before the first '
    'message, and `{"type":"heartbeat"}` after each silence of that time, in place of a comment or a ping.'
)


class Assignment(msgspec.Struct, frozen=True):
    """The registry's answer to a viewer: the subscriber to connect to. `subscriber` is `<cluster>/<name>`."""

    subscriber: str
    cluster: str
    sse_url: Annotated[Url, msgspec.Meta(description=f"The swarms as server-sent events.{_STREAM_QUERY}")]
    ws_url: Annotated[Url, msgspec.Meta(description=f"The same messages by WebSocket.{_STREAM_QUERY}")]
    token: Annotated[
        str | msgspec.UnsetType,
        msgspec.Meta(description="For a guest, who sent none. The subscriber and ingest want it."),
    ] = msgspec.UNSET


class GuestToken(msgspec.Struct, frozen=True):
    """The registry's answer to a guest: a token, with which he may react and watch."""

    token: str
    expires: Annotated[int, msgspec.Meta(description="When it is to be renewed, in seconds since the epoch.")]


class Record(msgspec.Struct, frozen=True):
    """A record of the topic `reactions`."""

    partition: Count
    offset: Count
    timestamp: Annotated[int, msgspec.Meta(description="ms since the epoch")]


class Acceptance(msgspec.Struct, frozen=True):
    """Ingest's answer to reactions that are all in Kafka."""

    accepted: Annotated[int, msgspec.Meta(ge=1, le=MAX_REACTIONS_PER_REQUEST)]
    record: Annotated[Record, msgspec.Meta(description="The record of the topic `reactions` that holds them.")]


class Palette(msgspec.Struct, frozen=True):
    """Ingest's answer to which emoji are allowed."""

    emoji: Sequence[str]
    any: Annotated[bool, msgspec.Meta(description="Whether every other emoji is allowed too.")]


class Status(msgspec.Struct, frozen=True):
    """The answer of a service that is well."""

    status: str


class InvalidReaction(msgspec.Struct, frozen=True):
    """One bad reaction of a request."""

    index: int
    reason: str


class Problem(msgspec.Struct, frozen=True):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: Annotated[str, msgspec.Meta(description="What is wrong, in words.")]
    event: Annotated[str | msgspec.UnsetType, msgspec.Meta(description="The event that is not known or closed.")] = (
        msgspec.UNSET
    )
    invalid: Annotated[
        list[InvalidReaction] | msgspec.UnsetType,
        msgspec.Meta(description="With 422 of ingest: the first bad reactions."),
    ] = msgspec.UNSET
    reasons: Annotated[
        dict[str, str] | msgspec.UnsetType,
        msgspec.Meta(description="With 503 of an admin listener's /readyz: each condition that is not met."),
    ] = msgspec.UNSET


ViewerMessage = Swarm | Snapshot | Reset | End | Goodbye
SignOfLife = Hello | Heartbeat
"""Messages without an id, sent only to viewers that ask for them. A client may ignore them."""

StreamMessage = ViewerMessage | SignOfLife

CompactMessage = CompactSwarm | Snapshot | Reset | End | Goodbye | SignOfLife
"""The same in the compact form. Only swarms differ."""

_encoder = msgspec.json.Encoder()
_stream_message_decoder: msgspec.json.Decoder[StreamMessage] = msgspec.json.Decoder(StreamMessage)
_compact_message_decoder: msgspec.json.Decoder[CompactMessage] = msgspec.json.Decoder(CompactMessage)
_swarm_decoder = msgspec.json.Decoder(Swarm)


def encode(message: Any) -> bytes:
    """Encode any of the structs above, or a list of them, as compact UTF-8 JSON on one line."""
    return _encoder.encode(message)


def encode_problem(status: HTTPStatus, detail: str, **more: Any) -> bytes:
    """Encode the body of an error; `more` are further fields of `Problem`."""
    return encode(Problem("about:blank", status.phrase, status, detail, **more))


P = ParamSpec("P")
T = TypeVar("T")


def with_one_error(decode: Callable[P, T]) -> Callable[P, T]:
    """Make `decode` raise msgspec.DecodeError for all bad input.

    msgspec itself raises other errors for bad UTF-8 and for deep nesting.
    """

    @wraps(decode)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return decode(*args, **kwargs)
        except (UnicodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from error

    return wrapper


@with_one_error
def decode(data: bytes | str, type: type[T]) -> T:  # noqa: A002 (msgspec's word)
    """Decode JSON from outside into this type.

    Raises msgspec.ValidationError if the JSON has another type. Raises msgspec.DecodeError, its base class, if the data
    is not JSON, is not UTF-8, or is nested too deeply.
    """
    return msgspec.json.decode(data, type=type)


@with_one_error
def decode_swarm(value: bytes) -> Swarm:
    """Decode a record of `swarms` or of a cluster's topic. Raises msgspec.DecodeError if it is not a swarm."""
    return _swarm_decoder.decode(value)


@with_one_error
def decode_stream_message(data: bytes | str) -> StreamMessage:
    """Decode one SSE `data:` or WebSocket frame to a viewer. Raises msgspec.DecodeError if it is not a message."""
    return _stream_message_decoder.decode(data)


@with_one_error
def decode_compact_message(data: bytes | str) -> CompactMessage:
    """Decode the same of a stream in the compact form, or of a subscriber that does not know that form."""
    return _compact_message_decoder.decode(data)


def new_stream_id(now_ms: int, previous: str | None = None) -> str:
    """Return an id for a new stream of swarms: the time in hexadecimal. It sorts after the ids of all earlier streams.

    By this order, a reader recognises a late record of an earlier stream. `previous` is the id of the stream before;
    it keeps the order even if the clock was set back.
    """
    earliest = 0 if previous is None else int(previous, 16) + 1
    return f"{max(now_ms, earliest):011x}"


def message_id(stream: str, sequence: int) -> str:
    """Return `<stream>-<sequence>`. A viewer resumes from this id: SSE sends it as `id:` and `Last-Event-ID`."""
    return f"{stream}-{sequence}"


def parse_message_id(text: str) -> tuple[str, int] | None:
    """Return the stream and the sequence of a message id, or None if it is malformed."""
    stream, dash, sequence = text.rpartition("-")
    if not (stream and dash and sequence.isascii() and sequence.isdigit() and len(sequence) <= 18):
        return None
    return stream, int(sequence)
