"""Computes how many hosts an audience needs, from what one core was measured to do: `emostream-lab plan`. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

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
    """What one core does. docs/performance.md says how this was measured."""

    requests_per_second: int = 3_400
    """Requests with a single reaction that ingest takes, each acknowledged by Kafka."""
    counted_per_second: int = 620_000
    """Reactions that the aggregator counts, if each record holds `reactions_per_record`."""
    reactions_per_record: int = 100
    deliveries_per_second: int = 96_000
    """Swarms that a subscriber sends, each to one viewer."""
    record_bytes_per_reaction: int = 103
    """Size in the topic `reactions`, with the id of its request."""
    swarm_bytes: int = 1_600
    """Size of a swarm with all 32 emoji, as a viewer gets it."""
    compressed_part: float = 0.49
    """The part of its bytes that is left when it is compressed."""


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
class Plan:
    """The hosts of each tier, the settings to use with them, and the traffic of all hosts together."""

    audience: Audience
    tiers: tuple[Tier, ...]
    clusters: int
    reactions_partitions: int
    linger_ms: int
    subscriber_capacity: int
    reactions_mb_per_second: float
    swarms_gbit_per_second: float
    compressed_gbit_per_second: float
    """The same if every viewer accepts compression. The hosts are enough if none does."""

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
        swarms_gbit_per_second=sizing.swarms_mb_per_second * 8 / 1_000,
        compressed_gbit_per_second=sizing.swarms_mb_per_second * sizing.measured.compressed_part * 8 / 1_000,
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
        f"to the viewers: {found.swarms_gbit_per_second:,.2f} Gbit/s of swarms, "
        f"or {found.compressed_gbit_per_second:,.2f} compressed, before TLS",
    ]
    return "\n".join(lines)


def basis() -> str:
    """Return what every plan rests on: what was measured on one core, and what was assumed about the rest."""
    return "\n".join(["measured, a core:", *_values(Measured()), "assumed:", *_values(Assumed())])


def _values(section: Any) -> Iterator[str]:
    for field in fields(section):
        yield f"  {field.name.replace('_', ' ')}: {getattr(section, field.name):,}"
