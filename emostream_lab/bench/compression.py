"""Measures what compression and the compact form save and cost: bytes, and deliveries per CPU second.

nchan and Centrifugo send such swarms to such viewers too. nchan does not compress, and Centrifugo compresses WebSocket.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emostream_lab.bench import fanout, machine
from emostream_lab.bench.fanout import NAMES, STREAM, WEBSOCKET, Load, Round
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.servers import Tell

_PART = "compression"
_PLAIN, _COMPRESSED = "EmoStream", "EmoStream, compressed"
_COMPACT, _COMPACT_COMPRESSED = "EmoStream, compact", "EmoStream, compact and compressed"
_EMOJI = (32, 5)
# The share of the bytes that may be left, by the emoji of each swarm.
_MOST_BYTES = {(_COMPRESSED, 32): 0.5, (_COMPRESSED, 5): 0.7, (_COMPACT, 32): 0.4}


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure swarms of 32 and of 5 emoji, by SSE and by WebSocket. A quick run measures SSE and 32 emoji."""
    load = Load(500, 3, rounds=1) if quick else Load(2_000, 5, rounds=3)
    kinds = [STREAM] if quick else list(NAMES)
    figures: list[Figure] = []
    for emoji in _EMOJI[:1] if quick else _EMOJI:
        for kind, rounds in _of_swarms(directory / f"{emoji}-emoji", emoji, kinds, tell, load):
            figures += _figures(NAMES[kind], emoji, rounds, quick=quick)
    return Findings(figures=figures)


def _of_swarms(
    directory: Path, emoji: int, kinds: Sequence[str], tell: Tell, load: Load
) -> Iterator[tuple[str, dict[str, list[Round]]]]:
    with (
        machine.load_on_its_own_cores() as cores,
        fanout.running_subscriber(directory, tell, cores.server, emoji=emoji) as tiers,
        fanout.running_nchan(directory, emoji) as nchan,
        fanout.running_centrifugo(directory, emoji) as centrifugo,
    ):
        for peer in (nchan, centrifugo):
            peer.pin(cores.server)
        plain = fanout.ours(tiers)
        compact = replace(
            plain, name=_COMPACT, streams={kind: f"{path}?form=compact" for kind, path in plain.streams.items()}
        )
        servers = (
            plain,
            replace(plain, name=_COMPRESSED, is_compressed=True),
            compact,
            replace(compact, name=_COMPACT_COMPRESSED, is_compressed=True),
            nchan,
            centrifugo,
        )
        compressing = replace(centrifugo, name="Centrifugo, compressed", is_compressed=True)
        for kind in kinds:
            # Centrifugo does not compress SSE.
            beside = (*servers, compressing) if kind == WEBSOCKET else servers
            yield kind, fanout.beside(kind, beside, tell, load)


def _figures(kind: str, emoji: int, rounds: dict[str, list[Round]], *, quick: bool) -> Iterator[Figure]:
    size = {name: _bytes_per_delivery(of_server) for name, of_server in rounds.items()}
    rate = fanout.deliveries_per_cpu_second(rounds)
    what = f"{kind}, {emoji} emoji"
    for name in rounds:
        note = f"{size[name]:,.0f} bytes each"
        yield Figure(part=_PART, name=f"{what}: {name}", value=rate[name], unit="deliveries/CPU-s", note=note)
    for name in (_COMPRESSED, _COMPACT, _COMPACT_COMPRESSED):
        form = f"{what}, {name.removeprefix('EmoStream, ')}"
        yield Figure(
            part=_PART,
            name=f"{form}: bytes, by those of the plain form",
            value=size[name] / size[_PLAIN],
            unit="×",
            at_most=_MOST_BYTES.get((name, emoji)),
        )
        cost = Figure(
            part=_PART,
            name=f"{form}: deliveries per CPU second, by those of the plain form",
            value=rate[name] / rate[_PLAIN],
            unit="×",
            at_least=0.95,
        )
        yield cost.unjudged() if quick else cost


def _bytes_per_delivery(rounds: Sequence[Round]) -> float:
    deliveries = [each.deliveries for each in rounds]
    return sum(each.received_bytes for each in deliveries) / sum(each.count for each in deliveries)
