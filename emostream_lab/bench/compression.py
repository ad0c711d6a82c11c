"""Measures what compression saves and costs: bytes and deliveries per CPU second, beside streams without it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emostream_lab.bench import fanout, machine
from emostream_lab.bench.fanout import NAMES, STREAM, Load, Round
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.servers import Tell

# The emoji of each swarm, and the share of the bytes that may be left.
MOST_BYTES = {32: 0.5, 5: 0.7}
_PART = "compression"
_PLAIN, _COMPRESSED, _NCHAN = "EmoStream", "EmoStream, compressed", "nchan"


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure swarms of 32 and of 5 emoji, by SSE and by WebSocket. A quick run measures SSE and 32 emoji."""
    load = Load(500, 3, rounds=1) if quick else Load(2_000, 5, rounds=3)
    kinds = [STREAM] if quick else list(NAMES)
    figures: list[Figure] = []
    for emoji in [32] if quick else MOST_BYTES:
        for kind, rounds in _of_swarms(directory / f"{emoji}-emoji", emoji, kinds, tell, load):
            figures += _figures(f"{NAMES[kind]}, {emoji} emoji", MOST_BYTES[emoji], rounds, quick=quick)
    return Findings(figures=figures)


def _of_swarms(
    directory: Path, emoji: int, kinds: Sequence[str], tell: Tell, load: Load
) -> Iterator[tuple[str, dict[str, list[Round]]]]:
    with (
        machine.load_on_its_own_cores() as cores,
        fanout.running_subscriber(directory, tell, cores.server, emoji=emoji) as tiers,
        fanout.running_nchan(directory, emoji) as nchan,
    ):
        nchan.pin(cores.server)
        plain = fanout.ours(tiers)
        servers = (plain, replace(plain, name=_COMPRESSED, is_compressed=True), nchan)
        for kind in kinds:
            yield kind, fanout.beside(kind, servers, tell, load)


def _figures(kind: str, most_bytes: float, rounds: dict[str, list[Round]], *, quick: bool) -> Iterator[Figure]:
    size = {name: _bytes_per_delivery(each) for name, each in rounds.items()}
    rate = fanout.deliveries_per_cpu_second(rounds)
    saved = Figure(
        part=_PART,
        name=f"{kind}: bytes, by those without",
        value=size[_COMPRESSED] / size[_PLAIN],
        unit="×",
        note=f"{size[_COMPRESSED]:,.0f} of {size[_PLAIN]:,.0f} bytes; nchan {size[_NCHAN]:,.0f}",
        at_most=most_bytes,
    )
    cost = Figure(
        part=_PART,
        name=f"{kind}: deliveries per CPU second, by those without",
        value=rate[_COMPRESSED] / rate[_PLAIN],
        unit="×",
        note=", ".join(f"{name} {value:,.0f}" for name, value in rate.items()),
        at_least=0.95,
    )
    yield saved
    yield cost.unjudged() if quick else cost


def _bytes_per_delivery(rounds: Sequence[Round]) -> float:
    deliveries = [each.deliveries for each in rounds]
    return sum(each.received_bytes for each in deliveries) / sum(each.count for each in deliveries)
