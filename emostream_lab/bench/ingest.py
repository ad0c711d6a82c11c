"""Measures ingest: requests per CPU second, beside a textbook server and beside gunicorn with acknowledgements."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emostream import model, palette
from emostream.model import Reaction
from emostream_lab.bench import machine, posts, servers
from emostream_lab.bench.figures import Figure, Findings, per_cpu_second
from emostream_lab.bench.posts import Answers
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST, free_port

TIERS = ("zookeeper", "kafka", "topics", "ingest")
CONNECTIONS = 128
BATCH_CONNECTIONS = 16
REACTIONS_PER_BATCH = 500
ROUNDS = 2
_PATH = "/v1/reactions"
_PART = "ingest"


@dataclass(frozen=True)
class _Server:
    name: str
    port: int
    pid: int


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure single and batched reactions. This takes about 60 s, or 16 s in a quick run, and the start."""
    seconds, rounds = (3, 1) if quick else (8, ROUNDS)
    single: dict[str, list[Answers]] = {}
    with (
        machine.load_on_its_own_cores() as cores,
        servers.running_tiers(directory, TIERS, tell) as tiers,
        _textbook(tiers, directory) as textbook,
        _acknowledged(tiers, directory) as acknowledged,
    ):
        ours = _ours(tiers)
        for server in (ours, textbook, acknowledged):
            machine.pin(server.pid, cores.server)
        for round_ in range(1, rounds + 1):
            for server in (ours, textbook, acknowledged):
                tell(f"single POST, round {round_} of {rounds}: {server.name}")
                answers = _post(server, single_reactions(1_000), CONNECTIONS, seconds)
                single.setdefault(server.name, []).append(answers)
        tell(f"POST of {REACTIONS_PER_BATCH} reactions each")
        batched = _post(ours, batches(50, REACTIONS_PER_BATCH), BATCH_CONNECTIONS, seconds)
    return Findings(figures=list(_figures(single, batched)))


def post_single(tiers: RunningTiers, connections: int, seconds: float, paths: Sequence[str] = (_PATH,)) -> Answers:
    """Return what our ingest answers to single reactions on this many connections, to these paths in turn."""
    return _post(_ours(tiers), single_reactions(1_000), connections, seconds, paths)


def single_reactions(number: int) -> list[bytes]:
    """Return this many bodies with one reaction each."""
    return [model.encode(reaction) for reaction in _reactions(number)]


def batches(number: int, reactions: int) -> list[bytes]:
    """Return this many bodies with a list of reactions each."""
    return [model.encode(_reactions(reactions, seed)) for seed in range(number)]


def _reactions(number: int, seed: int = 7) -> list[Reaction]:
    draw = random.Random(seed)
    return [
        Reaction(f"viewer-{draw.randrange(100_000):05}", draw.choice(palette.DEFAULT), 1_732_370_000_123)
        for _ in range(number)
    ]


def _ours(tiers: RunningTiers) -> _Server:
    return _Server("EmoStream", tiers.layout.ports.ingest, tiers.pid("ingest"))


def _post(
    server: _Server, bodies: list[bytes], connections: int, seconds: float, paths: Sequence[str] = (_PATH,)
) -> Answers:
    return posts.post(server.port, server.pid, paths, bodies, connections, seconds)


def _figures(single: dict[str, list[Answers]], batched: Answers) -> Iterator[Figure]:
    rates = {name: per_cpu_second(rounds) for name, rounds in single.items()}
    ours, *others = rates
    best = max(rates[name] for name in others)
    yield _figure("single POST, by the best of the others", rates[ours] / best, "×", at_least=2)
    for name, rate in rates.items():
        yield _figure(f"single POST: {name}", rate, "requests/CPU-s")
        yield _figure(f"single POST, p99: {name}", max(answers.p99_ms for answers in single[name]), "ms")
    reactions = REACTIONS_PER_BATCH * per_cpu_second([batched])
    yield _figure("batched POST", reactions, "reactions/CPU-s", at_least=200_000)
    slowest = max(answers.p99_ms for answers in [*single[ours], batched])
    yield _figure("p99 of POST, at all that one core takes", slowest, "ms", at_most=100)


def _figure(
    name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    return Figure(part=_PART, name=name, value=value, unit=unit, at_least=at_least, at_most=at_most)


@contextmanager
def _textbook(tiers: RunningTiers, directory: Path) -> Iterator[_Server]:
    port = free_port()
    command = [sys.executable, "-m", "emostream_lab.bench.peers.textbook", str(port)]
    with _running("textbook", command, port, tiers, directory) as process:
        yield _Server("Flask's own server, 200 before Kafka has it", port, process.pid)


@contextmanager
def _acknowledged(tiers: RunningTiers, directory: Path) -> Iterator[_Server]:
    port = free_port()
    threads = ["--worker-class", "gthread", "--threads", str(CONNECTIONS), "--bind", f"{HOST}:{port}"]
    # There is a thread for each connection. All connections are kept for longer than the run.
    application = "emostream_lab.bench.peers.acknowledged:app"
    command = [sys.executable, "-m", "gunicorn", *threads, "--keep-alive", "60", application]
    with _running("acknowledged", command, port, tiers, directory) as process:
        yield _Server("gunicorn gthread, after Kafka's acks", port, process.pid)


@contextmanager
def _running(name: str, command: list[str], port: int, tiers: RunningTiers, directory: Path) -> Iterator[Process]:
    addresses = ",".join(tiers.kafka.bootstrap_servers)
    with servers.running(name, command, port, directory, KAFKA=addresses) as process:
        yield process
