"""The figures of a simulated crowd, their file, and their text for the terminal."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from emostream_lab.account.moves import Move


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the crowd's reactions, to all events or to one.

    `accepted`, `counted`, `in_flight`, `others`, `unknown` and `refused` count reactions since the crowd started.
    `delivered`, `unseen`, `missed` and `repeated` count swarms, once for each viewer: those that a viewer saw, those
    still on their way, those that a viewer did not get, and those that it got twice.
    The percentiles are the end-to-end latency (POST to viewer) in ms, of the newest swarm during the run and of all at
    the end.
    Known only at the end: `lost` and `doubled` count reactions by emoji, `problems` says what is wrong, `moves` lists
    each time that a viewer lost its subscriber, and `events` has the figures of each event if there are several.
    """

    seconds: float
    reactions_per_second: float
    accepted: int
    counted: int
    in_flight: int
    others: int = 0
    unknown: int
    refused: int
    viewers: int
    swarms: int
    delivered: int
    unseen: int = 0
    missed: int = 0
    repeated: int = 0
    p50_ms: int | None
    p99_ms: int | None
    lost: dict[str, int] = {}
    doubled: dict[str, int] = {}
    problems: list[str] = []
    moves: list[Move] = []
    events: "dict[str, Figures]" = {}
    is_final: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether every reaction was counted once and every viewer saw every swarm once."""
        return not self.problems


_decoder = msgspec.json.Decoder(Figures)


def write(path: Path, figures: Figures) -> None:
    """Write the figures to a file atomically, so that a reader never sees half of them."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(figures))
    temporary.replace(path)


def read(path: Path) -> Figures | None:
    """Read the newest figures from a file, or None if it does not exist yet."""
    return _decoder.decode(path.read_bytes()) if path.exists() else None


def live_line(figures: Figures) -> str:
    """Format the figures as one line for the running display."""
    parts = [
        f"{figures.seconds:4.0f} s",
        f"{figures.reactions_per_second:,.0f} reactions/s",
        f"{figures.accepted:,} accepted",
        f"{figures.counted:,} counted",
        f"swarm {figures.swarms}",
        f"{figures.viewers} viewers",
        f"seen after {_seconds(figures.p50_ms)} (p99 {_seconds(figures.p99_ms)})",
    ]
    return " · ".join(parts)


def summary(figures: Figures) -> str:
    """Format the account of a whole run: a table, then the verdict."""
    rows = [
        ("accepted", f"{figures.accepted:,}", f"reactions in {figures.seconds:.0f} s"),
        ("counted", f"{figures.counted:,}", f"of which {figures.others:,} sent by others" if figures.others else ""),
        ("lost", _by_emoji(figures.lost), ""),
        ("doubled", _by_emoji(figures.doubled), ""),
        ("unknown", f"{figures.unknown:,}", "not answered in time: may be counted or not" if figures.unknown else ""),
        ("refused", f"{figures.refused:,}", "not accepted, and not sent again" if figures.refused else ""),
        ("viewers", f"{figures.viewers:,}", ""),
        ("swarms", f"{figures.swarms:,}", ""),
        ("delivered", f"{figures.delivered:,}", f"missed {figures.missed:,}, repeated {figures.repeated:,}"),
        ("POST to viewer", f"{_seconds(figures.p50_ms)} p50", f"{_seconds(figures.p99_ms)} p99"),
    ]
    table = "\n".join(f"  {name:<14}{value:>14}   {remark}".rstrip() for name, value, remark in rows)
    return "\n\n".join([table, *([_by_event(figures.events)] if figures.events else []), _verdict(figures)])


def _by_event(events: Mapping[str, Figures]) -> str:
    """Format a line for each event."""
    width = max(map(len, ["event", *events]))
    heads = ("accepted", "counted", "lost", "doubled", "unknown", "viewers", "delivered", "p50", "p99")
    rows = [
        (event, *map("{:,}".format, _numbers(each)), _seconds(each.p50_ms), _seconds(each.p99_ms), _word(each))
        for event, each in events.items()
    ]
    return "\n".join(
        f"  {event:<{width}}{''.join(f'{cell:>12}' for cell in cells)}   {word}".rstrip()
        for event, *cells, word in [("event", *heads, ""), *rows]
    )


def _numbers(event: Figures) -> tuple[int, ...]:
    lost, doubled = sum(event.lost.values()), sum(event.doubled.values())
    return event.accepted, event.counted, lost, doubled, event.unknown, event.viewers, event.delivered


def _word(event: Figures) -> str:
    return "exact" if event.is_exact else "NOT EXACT"


def _verdict(figures: Figures) -> str:
    if figures.is_exact:
        return "Every accepted reaction was counted exactly once, and seen by every viewer."
    return f"NOT EXACT: {'; '.join(figures.problems)}. The logs tell what the parts did."


def _by_emoji(counts: dict[str, int]) -> str:
    total = f"{sum(counts.values()):,}"
    return f"{total} ({' '.join(f'{emoji}{count}' for emoji, count in counts.items())})" if counts else total


def _seconds(ms: int | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.2f} s"
