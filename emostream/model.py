"""The messages of the system and their JSON: reactions, swarms, and messages to viewers.

Times are integer milliseconds since the epoch, UTC. A reader ignores fields that it does not know.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import msgspec

# The Kafka topics. Each cluster has one more topic, which has the cluster's name.
REACTIONS_TOPIC = "reactions"
DEAD_LETTER_TOPIC = "reactions.dead-letter"
WARMUP_TOPIC = "reactions.warm-up"
SWARMS_TOPIC = "swarms"

# This header of a record of `reactions` holds the count of each emoji in the record's list, as JSON. With it, the
# aggregator does not have to parse the list. The header is optional.
COUNTS_HEADER = "counts"

MAX_REACTIONS_PER_REQUEST = 1_000

MAX_USER_ID_CHARACTERS = 64
UserId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER_ID_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
"""The id of a user who reacts or watches: any text without control characters."""

Counts = dict[str, int]


class Reaction(msgspec.Struct, frozen=True):
    """One tap of one viewer. A record of the topic `reactions` is a JSON list of reactions.

    `emoji_type` is one emoji, fully qualified (❤️, not ❤). `timestamp` is the time of the tap on the viewer's own clock.
    It is kept for analysis and never decides in which window the reaction counts.
    """

    user_id: str
    emoji_type: str
    timestamp: int


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


class Swarm(msgspec.Struct, frozen=True, tag="swarm"):
    """The counted reactions of one micro-batch.

    In Kafka (`swarms`, `clusterN`), `totals` holds every emoji since the stream began, and `progress` is set. A viewer
    gets a smaller form (`for_viewers`): it holds the totals of this swarm's emoji only, and no progress.
    """

    id: str
    sequence: int
    window: Window
    reactions: int
    counts: Counts
    swarm: Counts
    totals: Counts
    progress: Progress | msgspec.UnsetType = msgspec.UNSET

    def for_viewers(self) -> "Swarm":
        """Return the swarm as a viewer gets it: without progress, and with the totals of its own emoji only."""
        totals = {emoji: self.totals[emoji] for emoji in self.counts}
        return msgspec.structs.replace(self, totals=totals, progress=msgspec.UNSET)


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


GoodbyeReason = Literal["draining", "slow"]


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """The subscriber ends the stream: the viewer asks the registry for another subscriber.

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


class Assignment(msgspec.Struct, frozen=True):
    """The registry's answer to a viewer: the subscriber to connect to. `subscriber` is `<cluster>/<name>`."""

    subscriber: str
    cluster: str
    sse_url: str
    ws_url: str


ViewerMessage = Swarm | Snapshot | Reset | Goodbye
SignOfLife = Hello | Heartbeat
"""Messages without an id, sent only to viewers that ask for them. A client may ignore them."""

_encoder = msgspec.json.Encoder()
_viewer_message_decoder: msgspec.json.Decoder[ViewerMessage] = msgspec.json.Decoder(ViewerMessage)
_stream_message_decoder: msgspec.json.Decoder[ViewerMessage | SignOfLife] = msgspec.json.Decoder(
    ViewerMessage | SignOfLife
)
_swarm_decoder = msgspec.json.Decoder(Swarm)


def encode(message: Any) -> bytes:
    """Encode any of the structs above, or a list of them, as compact UTF-8 JSON on one line."""
    return _encoder.encode(message)


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
def decode_viewer_message(data: bytes | str) -> ViewerMessage:
    """Decode one SSE `data:` or WebSocket frame. Raises msgspec.DecodeError if it is not a viewer message."""
    return _viewer_message_decoder.decode(data)


@with_one_error
def decode_stream_message(data: bytes | str) -> ViewerMessage | SignOfLife:
    """Decode one message of a stream that has visible heartbeats. Raises msgspec.DecodeError if it is none."""
    return _stream_message_decoder.decode(data)


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
