"""Measures each hop of single reactions while an audience reacts too, at the usual and at the shortest trigger."""

import asyncio
import http.client
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from emostream.client.connection import fetch
from emostream.errors import EmoStreamError
from emostream_lab.bench import servers
from emostream_lab.bench.figures import Figure, Findings, Hops, quantile
from emostream_lab.bench.ingest import single_reactions
from emostream_lab.bench.servers import RunningTiers, Tell
from emostream_lab.load.http import Endpoint
from emostream_lab.processes import topology
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST

TIERS = ("zookeeper", "kafka", "topics", "registry", "subscriber", "publisher", "ingest", "aggregator")
TRIGGERS_MS = (2_000, 250)
AUDIENCE_REACTIONS_PER_SECOND = 500
AUDIENCE_VIEWERS = 100
_PAUSE_SECONDS = 0.05
# The JVMs compile their hot code in the first seconds. Until then, batches take twice as long.
_WARM_UP_SECONDS, _QUICK_WARM_UP_SECONDS = 25, 8
_TIMEOUT_SECONDS = 30
_PART = "end to end"


@dataclass(frozen=True)
class _Probe:
    """One reaction of this benchmark: when it was sent, and the record that its 202 answer named.

    Times are in milliseconds since the epoch.
    """

    sent_ms: float
    partition: int
    offset: int
    timestamp: int


class _Witness:
    """A viewer in its own thread, which notes when each swarm comes."""

    def __init__(self, port: int) -> None:
        # Not a stream of emostream.client, which would decode each swarm before the time is taken.
        self._connection = http.client.HTTPConnection(HOST, port)
        self._connection.request("GET", "/v1/stream")
        self._response = self._connection.getresponse()
        self.seen_ms: dict[int, float] = {}
        threading.Thread(target=self._watch, name="witness", daemon=True).start()

    def _watch(self) -> None:
        for line in self._response:
            if line.startswith(b"id: "):
                self.seen_ms[int(line.rpartition(b"-")[2])] = time.time() * 1_000


def measure(directory: Path, tell: Tell, *, quick: bool) -> Findings:
    """Measure at each trigger. A quick run measures at the shortest trigger only."""
    findings = Findings()
    for trigger_ms in TRIGGERS_MS[-1:] if quick else TRIGGERS_MS:
        own_directory = directory / f"trigger-{trigger_ms}"
        with (
            servers.running_tiers(own_directory, TIERS, tell, trigger_ms=trigger_ms) as tiers,
            _audience(tiers, own_directory, _QUICK_WARM_UP_SECONDS if quick else _WARM_UP_SECONDS),
        ):
            # The wait for the trigger varies evenly between 0 and the trigger, so a good mean needs many triggers.
            seconds = max(10, 15 * trigger_ms / 1_000)
            tell(f"trigger {trigger_ms} ms: one reaction after the other for {seconds:.0f} s")
            hops = _follow(tiers, seconds)
        findings.hops.append(Hops(trigger_ms, {name: statistics.fmean(values) for name, values in hops.items()}))
        findings.figures += _figures(trigger_ms, hops)
    return findings


@contextmanager
def _audience(tiers: RunningTiers, directory: Path, warm_up_seconds: float) -> Iterator[None]:
    options = ["--crowd", str(AUDIENCE_REACTIONS_PER_SECOND), "--viewers", str(AUDIENCE_VIEWERS)]
    figures = ["--figures-file", str(directory / "audience.json")]
    process = Process(
        "audience",
        [sys.executable, "-m", "emostream_lab", "crowd", *options, *figures],
        log_file=directory / "audience.log",
        environment=topology.environment(tiers.layout),
    )
    process.start()
    try:
        time.sleep(warm_up_seconds)
        if not process.is_running():
            raise EmoStreamError(f"the audience ended:\n{process.log_tail()}")
        yield
    finally:
        process.stop()


def _follow(tiers: RunningTiers, seconds: float) -> dict[str, list[float]]:
    witness = _Witness(tiers.subscriber_port)
    probes = _react(tiers.layout.ports.ingest, seconds)
    hops: dict[str, list[float]] = {}
    for probe in probes:
        trace = _trace(tiers.subscriber_port, probe)
        for name, milliseconds in _hops(probe, trace, _seen_ms(witness, trace["sequence"])):
            hops.setdefault(name, []).append(milliseconds)
    return hops


def _react(port: int, seconds: float) -> list[_Probe]:
    ingest = Endpoint(f"http://{HOST}:{port}/v1/reactions")
    bodies = single_reactions(1_000)
    probes = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # The pauses are random, so that the reactions do not keep step with the trigger.
        time.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))
        sent_ms = time.time() * 1_000
        answer = msgspec.json.decode(ingest.post(random.choice(bodies)).body)
        probes.append(_Probe(sent_ms, **answer["record"]))
    ingest.close()
    return probes


def _trace(port: int, probe: _Probe) -> Any:
    """Return what the subscriber knows about the swarm that counts a record, once there is one.

    Raises EmoStreamError if that takes longer than `_TIMEOUT_SECONDS`.
    """
    url = f"http://{HOST}:{port}/v1/trace?partition={probe.partition}&offset={probe.offset}"
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        answer = asyncio.run(fetch(url, _TIMEOUT_SECONDS))
        if answer.status == 200:
            return msgspec.json.decode(answer.body)
        if time.monotonic() > deadline:
            raise EmoStreamError(f"a reaction was not counted in {_TIMEOUT_SECONDS} s: {answer.reason}")
        time.sleep(_PAUSE_SECONDS)


def _seen_ms(witness: _Witness, sequence: int) -> float:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while sequence not in witness.seen_ms:
        if time.monotonic() > deadline:
            raise EmoStreamError(f"the viewer had not got swarm {sequence} in {_TIMEOUT_SECONDS} s.")
        time.sleep(_PAUSE_SECONDS)
    return witness.seen_ms[sequence]


def _hops(probe: _Probe, trace: Any, seen_ms: float) -> Iterator[tuple[str, float]]:
    """Yield each hop with its milliseconds, in order. The 202 answer goes another way, which is not part of them."""
    yield "request and group", probe.timestamp - probe.sent_ms
    yield "wait for the trigger", trace["window_end"] - probe.timestamp
    yield "count in Spark", trace["swarms_timestamp"] - trace["window_end"]
    yield "commit and publisher", trace["cluster_timestamp"] - trace["swarms_timestamp"]
    yield "to the subscriber", trace["received_timestamp"] - trace["cluster_timestamp"]
    yield "to the viewer", seen_ms - trace["received_timestamp"]


def _figures(trigger_ms: int, hops: dict[str, list[float]]) -> Iterator[Figure]:
    for name, values in hops.items():
        yield _figure(f"trigger {trigger_ms} ms, {name}, mean", statistics.fmean(values))
    whole: Sequence[float] = [sum(values) for values in zip(*hops.values(), strict=True)]
    yield _figure(f"trigger {trigger_ms} ms, POST to viewer, mean", statistics.fmean(whole))
    yield _figure(f"trigger {trigger_ms} ms, POST to viewer, p99", quantile(whole, 0.99))


def _figure(name: str, value: float) -> Figure:
    return Figure(part=_PART, name=name, value=value, unit="ms")
