"""Simple swarms of one emoji, for tests of the subscriber."""

from emostream import model
from emostream.subscriber import frames
from emostream.subscriber.history import Entry


def swarm(stream: str, sequence: int, counted: int | None = None) -> model.Swarm:
    """A swarm as it is in Kafka; `counted` is the offset up to which partition 0 of `reactions` is counted."""
    return model.Swarm(
        id=model.message_id(stream, sequence),
        sequence=sequence,
        window=model.Window(sequence * 2_000, (sequence + 1) * 2_000),
        reactions=3,
        counts={"🔥": 3},
        swarm={"🔥": 1},
        totals={"🔥": 3 * sequence, "👏": 7},
        progress=model.Progress("topic-id", {"0": sequence * 10 if counted is None else counted}),
    )


def entry(stream: str, sequence: int, *, timestamp_ms: int = 0, counted: int | None = None) -> Entry:
    """The same as an entry of the history."""
    record = swarm(stream, sequence, counted)
    assert isinstance(record.progress, model.Progress)
    return Entry(
        stream=stream,
        sequence=sequence,
        frames=frames.of(record.for_viewers()),
        window_end=record.window.end,
        swarms_timestamp=None,
        cluster_timestamp=timestamp_ms,
        received_timestamp=timestamp_ms,
        counted=record.progress.offsets,
    )


def sse_messages(data: bytes) -> list[model.ViewerMessage]:
    """The messages of an SSE stream's whole events, in order; comments and `retry:` are skipped."""
    lines = [line for block in data.split(b"\n\n") for line in block.splitlines()]
    return [model.decode_stream_message(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
