"""Computes how many hosts an audience needs, from what one core was measured to do: `emostream-lab plan`. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emostream.errors import EmoStreamError
from emostream_lab.bench.figures import number
from emostream_lab.bench.results import Results

DEFAULT_LINGER_MS = 5
# Viewers do not notice a delay of this length. They notice the trigger, which is 20 times as long.
MAX_LINGER_MS = 100


@dataclass(frozen=True)
class Audience:
    """The audience to serve: its connected viewers, and its reactions per second at the peak."""

    viewers: int
    reactions_per_second: int


@dataclass(frozen=True)
class Measured:
    """What one core does, and how long what it sends is.

    The defaults are those of `BUILT_IN`. docs/measuring.md says how they are measured.
    """

    requests_per_second: float = 3_400
    """Requests with a single reaction that ingest takes, each acknowledged by Kafka."""
    counted_per_second: float = 620_000
    """Reactions that the aggregator counts, if each record holds `reactions_per_record`."""
    reactions_per_record: float = 100
    deliveries_per_second: float = 96_000
    """Swarms that a subscriber sends, each to one viewer. The built-in value is that of swarms with one emoji."""
    record_bytes_per_reaction: float = 103
    """Size in the topic `reactions`, with the id of its request."""
    swarm_bytes: float = 1_600
    """Size of a swarm with all 32 emoji in the full form, without compression.

    The numbers in it are those of millions of viewers. Those of a benchmark are shorter, so its swarms do not tell.
    """
    compressed_part: float = 0.49
    """The part of its bytes that is left when it is compressed."""
    compact_part: float = 0.38
    """The part that is left in the compact form."""
    compact_compressed_part: float = 0.25
    """The part that is left in the compact form when it is compressed."""


BUILT_IN = "`make bench` on 2026-11-26, on 2 cores on which gunicorn took 1,455 requests a CPU-second"
"""The run that the speeds in `Measured` are from."""

_BYTES_OF = "SSE, 32 emoji, {}: bytes, by those of the plain form"
FIGURES = {
    "requests_per_second": ("ingest", "single POST: EmoStream", 1),
    # Spark counts with two threads there. They share two cores with Kafka, so each gets less than a whole one.
    "counted_per_second": ("aggregator", "catching up", 1 / 2),
    "deliveries_per_second": ("compression", "SSE, 32 emoji: EmoStream", 1),
    "compressed_part": ("compression", _BYTES_OF.format("compressed"), 1),
    "compact_part": ("compression", _BYTES_OF.format("compact"), 1),
    "compact_compressed_part": ("compression", _BYTES_OF.format("compact and compressed"), 1),
}
"""The figure of the benchmark that a field of `Measured` is: its part, its name, and how much of it one core does."""


def measured_in(results: Results) -> dict[str, float]:
    """Return the fields of `Measured` that these results have. Raises EmoStreamError if a value is not above 0."""
    values = {(figure.part, figure.name): figure.value for figure in results.figures}
    found = {}
    for field, (part, name, of_a_core) in FIGURES.items():
        if (value := values.get((part, name))) is not None:
            if value <= 0:
                raise EmoStreamError(f"{part}, {name}: {value:g} cannot be. Run `make bench` again.")
            found[field] = value * of_a_core
    return found


@dataclass(frozen=True)
class Assumed:
    """What was not measured. Check these values against the real hosts and the real audience."""

    cores_per_host: int = 8
    network_mb_per_second: int = 1_250
    """What a host can send, and also what it can receive: 10 Gbit/s."""
    disk_mb_per_second: int = 400
    """What a broker can write."""
    used_part: float = 0.6
    """Part of the capacity of cores, networks and disks that is used at the peak.

    The rest is for failed hosts and higher peaks.
    """
    trigger_seconds: float = 2.0
    """Time between swarms."""
    fan_out_seconds: float = 0.5
    """Time in which a swarm reaches the last viewer of a subscriber, which is one process on one core."""
    copies: int = 3
    """Copies of each record of `reactions`, on different brokers."""
    arrival_seconds: float = 300
    """Time in which the whole audience comes. Each viewer asks the registry once."""
    subscribers_per_cluster: int = 50


@dataclass(frozen=True)
class Tier:
    """One tier: how many processes it needs, on how many hosts, and what decides the number."""

    name: str
    processes: int
    hosts: int
    because: str


@dataclass(frozen=True)
class Form:
    """What all viewers get if each of them gets this form of the swarms."""

    name: str
    swarm_bytes: int
    gbit_per_second: float


@dataclass(frozen=True)
class Plan:
    """The hosts of each tier, the settings to use with them, and the traffic of all hosts together."""

    audience: Audience
    tiers: tuple[Tier, ...]
    clusters: int
    reactions_partitions: int
    linger_ms: int
    subscriber_capacity: int
    reactions_mb_per_second: float
    forms: tuple[Form, ...]
    """The longest one is first. The hosts are enough if all viewers get it."""

    @property
    def hosts(self) -> int:
        return sum(tier.hosts for tier in self.tiers)


def plan(audience: Audience, measured: Measured | None = None, assumed: Assumed | None = None) -> Plan:
    """Return the plan for an audience."""
    sizing = _Sizing(audience, measured or Measured(), assumed or Assumed())
    ingest, aggregator, subscribers = sizing.ingest(), sizing.aggregator(), sizing.subscribers()
    clusters = math.ceil(subscribers.processes / sizing.assumed.subscribers_per_cluster)
    return Plan(
        audience,
        (
            ingest,
            sizing.brokers(),
            aggregator,
            Tier("ZooKeeper", 3, 3, "an ensemble that outlives the loss of one"),
            sizing.publishers(clusters),
            subscribers,
            sizing.registry(),
        ),
        clusters=clusters,
        # Spark runs one partition at a time on each core. With twice as many partitions as cores, uneven ones even out.
        reactions_partitions=max(4, 2 * aggregator.processes),
        linger_ms=sizing.linger_ms(ingest.processes),
        subscriber_capacity=sizing.subscriber_capacity,
        reactions_mb_per_second=sizing.reactions_mb_per_second,
        forms=sizing.forms(),
    )


@dataclass(frozen=True)
class _Sizing:
    audience: Audience
    measured: Measured
    assumed: Assumed

    @property
    def reactions_mb_per_second(self) -> float:
        return self.audience.reactions_per_second * self.measured.record_bytes_per_reaction / 1e6

    @property
    def swarms_mb_per_second(self) -> float:
        return self.audience.viewers * self.measured.swarm_bytes / self.assumed.trigger_seconds / 1e6

    def forms(self) -> tuple[Form, ...]:
        parts = {
            "full form": 1.0,
            "full form, compressed": self.measured.compressed_part,
            "compact form": self.measured.compact_part,
            "compact form, compressed": self.measured.compact_compressed_part,
        }
        gbit_per_second = self.swarms_mb_per_second * 8 / 1_000
        return tuple(
            Form(name, round(part * self.measured.swarm_bytes), part * gbit_per_second) for name, part in parts.items()
        )

    @property
    def subscriber_capacity(self) -> int:
        return int(self.measured.deliveries_per_second * self.assumed.fan_out_seconds)

    def linger_ms(self, ingest_processes: int) -> int:
        """Return how long a record must stay open to hold as many reactions as in the measurement of the aggregator."""
        per_process = self.audience.reactions_per_second / ingest_processes
        return min(
            MAX_LINGER_MS, max(DEFAULT_LINGER_MS, math.ceil(1_000 * self.measured.reactions_per_record / per_process))
        )

    def ingest(self) -> Tier:
        cores = self._cores(self.audience.reactions_per_second / self.measured.requests_per_second)
        return Tier("ingest", cores, self._hosts(cores), "a request for each reaction")

    def brokers(self) -> Tier:
        # Brokers write every copy, and send as much: all copies but one to other brokers, and one to the aggregator.
        disk = self.assumed.copies * self.reactions_mb_per_second / self.assumed.disk_mb_per_second
        network = self.assumed.copies * self.reactions_mb_per_second / self.assumed.network_mb_per_second
        brokers = max(self.assumed.copies, self._padded(max(disk, network)))
        return Tier("Kafka", brokers, brokers, "writing every copy of each reaction")

    def aggregator(self) -> Tier:
        cores = self._cores(self.audience.reactions_per_second / self.measured.counted_per_second)
        # The extra host is for the standby driver.
        return Tier("aggregator", cores, self._hosts(cores) + 1, "counting each reaction, and a driver that stands by")

    def publishers(self, clusters: int) -> Tier:
        # Each cluster has two publishers, one of them on standby. A publisher needs almost no CPU time.
        return Tier("publishers", 2 * clusters, self._hosts(2 * clusters), "two for each cluster")

    def subscribers(self) -> Tier:
        processes = self._cores(self.audience.viewers / self.subscriber_capacity)
        by_cores = self._hosts(processes)
        by_network = self._padded(self.swarms_mb_per_second / self.assumed.network_mb_per_second)
        because = (
            f"{self.audience.viewers // processes:,} viewers each"
            if by_cores >= by_network
            else "the network to the viewers"
        )
        return Tier("subscribers", processes, max(by_cores, by_network), because)

    def registry(self) -> Tier:
        arrivals = self.audience.viewers / self.assumed.arrival_seconds
        cores = self._cores(arrivals / self.measured.requests_per_second)
        return Tier("registry", cores, self._hosts(cores), "the whole audience on its way in")

    def _cores(self, load: float) -> int:
        """Return the number of processes with one core each: at least two, so that one may fail."""
        return max(2, self._padded(load))

    def _padded(self, load: float) -> int:
        return math.ceil(load / self.assumed.used_part)

    def _hosts(self, cores: int) -> int:
        return max(2, math.ceil(cores / self.assumed.cores_per_host))


def report(found: Plan) -> str:
    """Return the plan as a table, with the resulting settings and network traffic."""
    audience = found.audience
    lines = [
        f"{audience.viewers:,} viewers, {audience.reactions_per_second:,} reactions/s: {found.hosts:,} hosts",
        "",
        f"{'tier':<14}{'processes':>11}{'hosts':>8}   decided by",
        *(f"{tier.name:<14}{tier.processes:>11,}{tier.hosts:>8,}   {tier.because}" for tier in found.tiers),
        "",
        f"clusters: {found.clusters:,}, each with its share of the subscribers",
        f"EMOSTREAM_KAFKA_REACTIONS_PARTITIONS={found.reactions_partitions}",
        f"EMOSTREAM_INGEST_LINGER_MS={found.linger_ms}",
        f"EMOSTREAM_SUBSCRIBER_CAPACITY={found.subscriber_capacity}",
        f"into Kafka: {found.reactions_mb_per_second:,.0f} MB/s of reactions, before copies",
        "",
        f"{'to the viewers, before TLS':<28}{'bytes a swarm':>13}{'Gbit/s':>10}",
        *(f"{form.name:<28}{form.swarm_bytes:>13,}{form.gbit_per_second:>10,.2f}" for form in found.forms),
    ]
    return "\n".join(lines)


def basis(results: Results | None = None) -> str:
    """Return what a plan rests on: what these results have, the built-in values of all else, and what was assumed."""
    here = measured_in(results) if results else {}
    lines = []
    if results and here:
        run = "make bench-quick" if results.quick else "make bench"
        rough = "; a quick run is rough" if results.quick else ""
        lines += [f"measured: `{run}` on {results.date}, on {results.machine}{rough}:", *_values(here)]
    built_in = {field: value for field, value in vars(Measured()).items() if field not in here}
    lines += [f"built in, with the speeds of {BUILT_IN}:", *_values(built_in)]
    return "\n".join([*lines, "assumed:", *_values(vars(Assumed()))])


def _values(values: Mapping[str, float]) -> Iterator[str]:
    for field, value in values.items():
        yield f"  {field.replace('_', ' ')}: {number(value)}"
