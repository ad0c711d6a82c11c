"""Measures what HAProxy and TLS in front of a subscriber cost: deliveries per CPU second, and memory a viewer."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from emostream_lab.bench import fanout, machine
from emostream_lab.bench.fanout import NAMES, STREAM, Load, Round, Server
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.servers import Tell
from emostream_lab.machine.certificates import Authority, write_identity
from emostream_lab.processes.haproxy import proxy

_PART = "HAProxy"
_DIRECTLY = "directly"


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure the viewers of a subscriber directly, through HAProxy, and through HAProxy with TLS.

    A quick run measures SSE alone.
    """
    load = Load(500, 3, rounds=1) if quick else Load(1_500, 5, rounds=3)
    figures: list[Figure] = []
    with (
        machine.load_on_its_own_cores() as cores,
        fanout.running_subscriber(directory / "subscriber", tell, cores.server) as tiers,
        _in_front_of(fanout.ours(tiers), directory, cores.server) as ways,
    ):
        rounds = {kind: fanout.beside(kind, ways, tell, load) for kind in ([STREAM] if quick else NAMES)}
    for kind, of_kind in rounds.items():
        figures += _figures(NAMES[kind], of_kind)
    figures += _memory_figures(rounds[STREAM], load.viewers)
    return Findings(figures=figures)


@contextmanager
def _in_front_of(subscriber: Server, directory: Path, core: int) -> Iterator[Sequence[Server]]:
    """Run one HAProxy without and one with TLS, and yield all three ways to the subscriber."""
    authority = Authority()
    write_identity(directory / "viewers.pem", authority.identity("haproxy", is_server_only=True))
    trusting = ssl.create_default_context(cadata=authority.certificate().decode())
    ways = [replace(subscriber, name=_DIRECTLY)]
    with ExitStack() as stack:
        for name, tls in {"through HAProxy": None, "through HAProxy with TLS": trusting}.items():
            running = stack.enter_context(
                proxy(directory, has_tls=tls is not None, haproxy_subscribers={"1": subscriber.port})
            )
            port = running.http_port if tls is None else running.https_port
            streams = {kind: f"/subscribers/1{path}" for kind, path in subscriber.streams.items()}
            ways.append(Server(name, port, [*subscriber.pids, running.process.pid], streams, tls=tls))
            ways[-1].pin(core)
        yield ways


def _figures(kind: str, rounds: dict[str, list[Round]]) -> Iterator[Figure]:
    rates = fanout.deliveries_per_cpu_second(rounds)
    for name, rate in rates.items():
        note = f"{rate / rates[_DIRECTLY]:.2f} × of directly"
        yield Figure(part=_PART, name=f"{kind} {name}", value=rate, unit="deliveries/CPU-s", note=note)


def _memory_figures(rounds: dict[str, list[Round]], viewers: int) -> Iterator[Figure]:
    """Return what HAProxy adds: the subscriber keeps the memory of its first viewers, who came directly."""
    for name, each in rounds.items():
        if name != _DIRECTLY:
            memory_kib = each[0].joined.server_kib / viewers
            yield Figure(part=_PART, name=f"memory a viewer that is added {name}", value=memory_kib, unit="KiB")
