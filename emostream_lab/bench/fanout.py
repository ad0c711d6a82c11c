"""Measures fan-out: deliveries per CPU second beside nchan and a bare `send` loop, and what viewers cost and notice."""

import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emostream_lab.bench import machine, servers
from emostream_lab.bench.figures import Figure, Findings, Measured, per_cpu_second
from emostream_lab.bench.peers import centrifugo, nchan
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.bench.viewers import Joined, Viewers
from emostream_lab.processes.servers import HOST, free_port

TIERS = ("zookeeper", "kafka", "topics", "subscriber", "publisher")
SWARMS_PER_SECOND = 10
CAPACITY = 12_000
ROUNDS = 2
_PART = "fan-out"
_BARE_LOOP = "by the bare loop of send"
STREAM, WEBSOCKET = "/v1/stream", "/v1/ws"
NAMES = {STREAM: "SSE", WEBSOCKET: "WebSocket"}
# With small buffers and a short timeout, a stalled viewer reaches its limit within seconds, not minutes.
_IMPATIENT = {
    "EMOSTREAM_SUBSCRIBER_MAX_VIEWER_BUFFER_BYTES": "4096",
    "EMOSTREAM_SUBSCRIBER_SLOW_VIEWER_TIMEOUT_MS": "30000",
}


@dataclass(frozen=True)
class Server:
    """A server to measure, or several in a row: the last one has the viewers at its port."""

    name: str
    port: int
    pids: Sequence[int]
    streams: Mapping[str, str]
    """The server's paths for SSE and for WebSocket."""
    is_compressed: bool = False
    tls: ssl.SSLContext | None = None

    def pin(self, core: int) -> None:
        """Keep it on this core."""
        for pid in self.pids:
            machine.pin(pid, core)


@dataclass(frozen=True)
class Load:
    """So many viewers, who are measured for these seconds in each round."""

    viewers: int
    seconds: float
    rounds: int = 1


@dataclass(frozen=True)
class Round:
    """How the viewers of a round came, and what they got."""

    joined: Joined
    deliveries: Measured


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure with 5,000 viewers. A quick run has 1,500 viewers on SSE only, and none of them stalls."""
    load = Load(1_500, 3, rounds=1) if quick else Load(5_000, 8, ROUNDS)
    kinds = [STREAM] if quick else list(NAMES)
    figures: list[Figure] = []
    with machine.load_on_its_own_cores() as cores:
        with (
            running_subscriber(directory / "beside-others", tell, cores.server) as tiers,
            running_nchan(directory) as by_nchan,
            _send_loop(directory) as bare,
        ):
            for server in (by_nchan, bare):
                server.pin(cores.server)
            rounds = {kind: beside(kind, (ours(tiers), by_nchan, bare), tell, load) for kind in kinds}
        for kind in kinds:
            found = list(_figures(NAMES[kind], rounds[kind]))
            # A single short round varies by more than the distance between the bare loop and its bound.
            figures += [each.unjudged() if quick and each.name.endswith(_BARE_LOOP) else each for each in found]
        figures += _audience_figures([each for kind in kinds for each in rounds[kind]["EmoStream"]], load.viewers)
        if not quick:
            with running_subscriber(directory / "stalled", tell, cores.server, _IMPATIENT) as tiers:
                figures += _stalled_figures(*_with_stalled(ours(tiers), tell, load), load.viewers)
    return Findings(figures=figures)


@contextmanager
def running_subscriber(
    directory: Path, tell: Tell, core: int, settings: Mapping[str, str] | None = None, emoji: int = 1
) -> Iterator[RunningTiers]:
    """Run a subscriber on its own core, with an audience that writes a swarm of so many emoji ten times a second."""
    settings = {"EMOSTREAM_SUBSCRIBER_CAPACITY": str(CAPACITY), **(settings or {})}
    with servers.running_tiers(directory, TIERS, tell, settings) as tiers:
        machine.pin(tiers.pid("subscriber"), core)
        with audience("kafka", f"{HOST}:{tiers.layout.ports.kafka}", directory, emoji=emoji):
            yield tiers


@contextmanager
def audience(sink: str, address: str, directory: Path, events: int = 1, emoji: int = 1) -> Iterator[None]:
    """Write a swarm ten times a second, in each of so many events."""
    trigger_ms = str(1_000 // SWARMS_PER_SECOND)
    command = [sys.executable, "-m", "emostream_lab.bench.audience", sink, address, "--trigger-ms", trigger_ms]
    command += ["--events", str(events), "--kinds", str(emoji)]
    if emoji > 1:
        # The rarest emoji should be in almost every swarm.
        command += ["--per-second", "20000"]
    port = int(address.rpartition(":")[2])
    with servers.running(f"audience-of-{sink}", command, port, directory):
        yield


def beside(kind: str, servers_: Sequence[Server], tell: Tell, load: Load) -> dict[str, list[Round]]:
    """Measure all servers in turn, several times, so that a slow phase of the machine slows each of them."""
    rounds: dict[str, list[Round]] = {server.name: [] for server in servers_}
    for number in range(1, load.rounds + 1):
        for server in servers_:
            tell(f"{load.viewers:,} viewers at {kind}, round {number} of {load.rounds}: {server.name}")
            rounds[server.name].append(_watch(server, kind, load))
    return rounds


def _with_stalled(server: Server, tell: Tell, load: Load) -> tuple[list[Round], list[Round]]:
    calm, stalled = [], []
    for number in range(1, load.rounds + 1):
        tell(f"{load.viewers:,} viewers who all read, round {number} of {load.rounds}")
        calm.append(_watch(server, STREAM, load))
        tell(f"{load.viewers:,} viewers of whom 1 % never read, round {number} of {load.rounds}")
        stalled.append(_watch(server, STREAM, load, stalled=load.viewers // 100, settle_seconds=8))
    return calm, stalled


def ours(tiers: RunningTiers) -> Server:
    """Return the subscriber of these tiers as a server to measure."""
    return Server("EmoStream", tiers.subscriber_port, [tiers.pid("subscriber")], {STREAM: STREAM, WEBSOCKET: WEBSOCKET})


def watch_stream(tiers: RunningTiers, viewers: int, seconds: float) -> Measured:
    """Return what this many SSE viewers of our subscriber get."""
    return _watch(ours(tiers), STREAM, Load(viewers, seconds)).deliveries


def _watch(server: Server, kind: str, load: Load, stalled: int = 0, settle_seconds: float = 1) -> Round:
    viewers = Viewers(
        server.port,
        [server.streams[kind]],
        load.viewers,
        server.pids,
        stalled=stalled,
        is_compressed=server.is_compressed,
        tls=server.tls,
    )
    try:
        return Round(viewers.joined, viewers.read_for(load.seconds, settle_seconds))
    finally:
        viewers.close()
        # The server must see that all of them left before the next ones come.
        time.sleep(0.5)


def deliveries_per_cpu_second(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """Return what each server delivered in all of its rounds, by its name."""
    return {name: per_cpu_second([round_.deliveries for round_ in each]) for name, each in rounds.items()}


def _figures(kind: str, rounds: dict[str, list[Round]]) -> Iterator[Figure]:
    rates = deliveries_per_cpu_second(rounds)
    emostream, by_nchan, bare = rates.values()
    yield _figure(f"{kind}, by nchan", emostream / by_nchan, "×", at_least=1.3)
    yield _figure(f"{kind}, {_BARE_LOOP}", emostream / bare, "×", at_least=0.85)
    for name, rate in rates.items():
        yield _figure(f"{kind}: {name}", rate, "deliveries/CPU-s")
    yield _figure(f"{kind}, p99 of age at arrival", _p99_ms(rounds["EmoStream"]), "ms", at_most=100)
    yield _figure(f"{kind}, p99 of age at arrival: nchan", _p99_ms(rounds["nchan"]), "ms")


def _audience_figures(rounds: Sequence[Round], viewers: int) -> Iterator[Figure]:
    # The server keeps the memory of the first viewers for the next ones, so only the first round shows growth.
    yield _figure("memory a viewer", rounds[0].joined.server_kib / viewers, "KiB", at_most=6)
    yield _figure("connects", viewers / max(each.joined.seconds for each in rounds), "viewers/s", at_least=2_000)


def _stalled_figures(calm: Sequence[Round], stalled: Sequence[Round], viewers: int) -> Iterator[Figure]:
    ratio = _p99_ms(stalled) / _p99_ms(calm)
    yield _figure("1 % stalled: p99 of the others, by that of a calm audience", ratio, "×", at_most=1.1)
    grown = max(each.joined.server_kib for each in stalled)
    yield _figure("1 % stalled: memory a viewer", grown / viewers, "KiB", at_most=6)


def _p99_ms(rounds: Sequence[Round]) -> float:
    return min(each.deliveries.p99_ms for each in rounds)


def _figure(
    name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    return Figure(part=_PART, name=name, value=value, unit=unit, at_least=at_least, at_most=at_most)


@contextmanager
def running_nchan(directory: Path, emoji: int = 1) -> Iterator[Server]:
    """Run nchan, with the same audience."""
    port = free_port()
    with (
        servers.running("nchan", nchan.command(directory, port), port, directory) as process,
        audience("nchan", f"{HOST}:{port}", directory, emoji=emoji),
    ):
        streams = {STREAM: nchan.STREAM_PATH, WEBSOCKET: nchan.WEBSOCKET_PATH}
        yield Server("nchan", port, [process.pid], streams)


@contextmanager
def running_centrifugo(directory: Path, emoji: int = 1) -> Iterator[Server]:
    """Run Centrifugo, with the same audience."""
    port = free_port()
    command = centrifugo.command(directory, port)
    with (
        servers.running("centrifugo", command, port, directory, **centrifugo.ENVIRONMENT) as process,
        audience("centrifugo", f"{HOST}:{port}", directory, emoji=emoji),
    ):
        streams = {STREAM: centrifugo.STREAM_PATH, WEBSOCKET: centrifugo.WEBSOCKET_PATH}
        yield Server("Centrifugo", port, [process.pid], streams)


@contextmanager
def _send_loop(directory: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "emostream_lab.bench.peers.send_loop", str(port)]
    with servers.running("send-loop", command, port, directory) as process:
        # It sends the same for every request, so both kinds of viewers use one path.
        yield Server("a bare loop of send", port, [process.pid], {STREAM: STREAM, WEBSOCKET: STREAM})
