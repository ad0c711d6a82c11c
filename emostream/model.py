"""What the parts say to each other: reactions, swarms and viewers' messages, and their JSON.

Times are integer milliseconds since the epoch, UTC. Readers ignore fields that they do not know.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import msgspec

# The topics. A cluster's topic has the cluster's name.
REACTIONS_TOPIC = "reactions"
DEAD_LETTER_TOPIC = "reactions.dead-letter"
REHEARSAL_TOPIC = "reactions.rehearsal"
SWARMS_TOPIC = "swarms"

# Header of a record of `reactions`: how often each emoji is in its list, as JSON. So whoever counts need not read the
# list. A record may lack it.
COUNTS_HEADER = "counts"

MAX_REACTIONS_PER_REQUEST = 1_000

MAX_USER_ID_CHARACTERS = 64
UserId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER_ID_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
"""Who reacts or watches: any text without control characters."""

Counts = dict[str, int]


class Reaction(msgspec.Struct, frozen=True):
    """One tap of one viewer; a record of the topic `reactions` is a JSON list of these.

    `emoji_type` is one emoji, fully qualified (❤️, not ❤). `timestamp` is the tap's time on the viewer's own clock: kept
    for analysis, never used for a window.
    """

    user_id: str
    emoji_type: str
    timestamp: int


class Window(msgspec.Struct, frozen=True):
    """The time that a swarm covers on the aggregator's clock; windows never overlap nor go back."""

    start: int
    end: int


class Progress(msgspec.Struct, frozen=True):
    """How far `reactions` is counted: the checkpoint, which every swarm carries in its record.

    `offsets` holds, by partition (a decimal string, as JSON's keys are), the offset after the last record counted.
    `reactions_topic_id` names the incarnation of the topic that these offsets are of. `dead_letters` is the number of
    records set aside since the stream began.
    """

    reactions_topic_id: str
    offsets: dict[str, int]
    dead_letters: int = 0


class Swarm(msgspec.Struct, frozen=True, tag="swarm"):
    """The audience's answer of one micro-batch.

    In Kafka (`swarms`, `clusterN`) `totals` holds every emoji since the stream began and `progress` is set; what a
    viewer gets (`for_viewers`) holds the totals of this swarm's emoji only, and no progress.
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
        """The same swarm as a viewer sees it: without progress, with the totals of its own emoji only."""
        totals = {emoji: self.totals[emoji] for emoji in self.counts}
        return msgspec.structs.replace(self, totals=totals, progress=msgspec.UNSET)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """A new viewer's first message: all totals as of `sequence`; the swarms after it follow."""

    id: str
    sequence: int
    totals: Counts


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Swarms were missed that the history no longer holds: forget the past and go on from these totals."""

    id: str
    sequence: int
    totals: Counts


GoodbyeReason = Literal["draining", "slow"]


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """The subscriber is leaving: ask the registry for another one. Carries no id, so a resume goes on as before."""

    reason: GoodbyeReason = "draining"


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First to a viewer that asks for visible heartbeats (`?heartbeats=1`): after how long a silence it gets one."""

    heartbeat_ms: int


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Nothing has happened for `heartbeat_ms`, and the connection lives; only to viewers that ask for it."""


class Assignment(msgspec.Struct, frozen=True):
    """Where the registry sends a viewer; `subscriber` is `<cluster>/<name>`."""

    subscriber: str
    cluster: str
    sse_url: str
    ws_url: str


ViewerMessage = Swarm | Snapshot | Reset | Goodbye
SignOfLife = Hello | Heartbeat
"""Only to viewers that ask for it, and without an id; a client that needs neither may ignore both."""

_encoder = msgspec.json.Encoder()
_viewer_message_decoder: msgspec.json.Decoder[ViewerMessage] = msgspec.json.Decoder(ViewerMessage)
_swarm_decoder = msgspec.json.Decoder(Swarm)


def encode(message: Any) -> bytes:
    """Any of the structs above, or a list of them, as compact UTF-8 JSON on one line."""
    return _encoder.encode(message)


P = ParamSpec("P")
T = TypeVar("T")


def _with_one_error(decode: Callable[P, T]) -> Callable[P, T]:
    """msgspec.DecodeError for all that cannot be decoded: msgspec raises others for bad UTF-8 and for deep nesting."""

    @wraps(decode)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return decode(*args, **kwargs)
        except (UnicodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from error

    return wrapper


@_with_one_error
def decode(data: bytes | str, type: type[T]) -> T:  # noqa: A002 (msgspec's word)
    """JSON that comes from outside, as this type.

    Raises msgspec.ValidationError where it is JSON of another type, and msgspec.DecodeError, its base, where it is no
    JSON: also where it is not UTF-8, or nested too deeply.
    """
    return msgspec.json.decode(data, type=type)


@_with_one_error
def decode_swarm(value: bytes) -> Swarm:
    """A record of `swarms` or of a cluster's topic. Raises msgspec.DecodeError where it is none."""
    return _swarm_decoder.decode(value)


@_with_one_error
def decode_viewer_message(data: bytes | str) -> ViewerMessage:
    """One SSE `data:` or WebSocket frame. Raises msgspec.DecodeError where it is none of the messages."""
    return _viewer_message_decoder.decode(data)


def new_stream_id(now_ms: int, previous: str | None = None) -> str:
    """An id for a new stream of swarms, which sorts after those of all earlier streams: its time, in hexadecimal.

    So whoever reads a record that comes late knows that its stream is over. A clock that was set back must not undo
    that, hence `previous`, the id before it.
    """
    earliest = 0 if previous is None else int(previous, 16) + 1
    return f"{max(now_ms, earliest):011x}"


def message_id(stream: str, sequence: int) -> str:
    """`<stream>-<sequence>`: what a viewer resumes by, as SSE's `id:` and `Last-Event-ID`."""
    return f"{stream}-{sequence}"


def parse_message_id(text: str) -> tuple[str, int] | None:
    """Stream and sequence of a message id, or None where it is malformed."""
    stream, dash, sequence = text.rpartition("-")
    if not (stream and dash and sequence.isascii() and sequence.isdigit() and len(sequence) <= 18):
        return None
    return stream, int(sequence)
