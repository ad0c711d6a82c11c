"""The figures of a simulated crowd, as they go from its process to the display, and how they read. Pure."""

from pathlib import Path

import msgspec

from emostream_lab.account.moves import Move


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How far the crowd's reactions came.

    `accepted`, `counted` and the like are reactions since the crowd came; `delivered` counts swarms, each once for each
    viewer. `unseen` are swarms on their way, each once for each viewer that lacks it yet; `missed` and `repeated` are
    those that a viewer should have got and did not, or got twice. The percentiles (POST to sight, in ms) are those of
    the newest swarm while it runs, and of all in the end. `lost` and `doubled` are by emoji, and `moves` are the times
    that a viewer lost its subscriber; these three are known in the end only.
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
    moves: list[Move] = []
    is_final: bool = False

    @property
    def is_exact(self) -> bool:
        """Every reaction was counted once and every swarm was seen once by every viewer."""
        return not (self.lost or self.doubled or self.missed or self.repeated or self.in_flight)


_decoder = msgspec.json.Decoder(Figures)


def write(path: Path, figures: Figures) -> None:
    """Replace the file's content at once, so that a reader never sees half of it."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(figures))
    temporary.replace(path)


def read(path: Path) -> Figures | None:
    """The newest figures; None before the first."""
    return _decoder.decode(path.read_bytes()) if path.exists() else None


def live_line(figures: Figures) -> str:
    """One line that shows that everything flows."""
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
    """The account of a whole run: a table, then the verdict."""
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
        ("POST to sight", f"{_seconds(figures.p50_ms)} p50", f"{_seconds(figures.p99_ms)} p99"),
    ]
    table = "\n".join(f"  {name:<14}{value:>14}   {remark}".rstrip() for name, value, remark in rows)
    return f"{table}\n\n{_verdict(figures)}"


def _verdict(figures: Figures) -> str:
    if figures.is_exact:
        return "Every accepted reaction was counted exactly once, and seen by every viewer."
    if figures.in_flight:
        return f"NOT EXACT: {figures.in_flight:,} accepted reactions had not come through when the time was over."
    return "NOT EXACT: see lost, doubled, missed and repeated above; the logs tell what the parts did."


def _by_emoji(counts: dict[str, int]) -> str:
    total = f"{sum(counts.values()):,}"
    return f"{total} ({' '.join(f'{emoji}{count}' for emoji, count in counts.items())})" if counts else total


def _seconds(ms: int | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.2f} s"
