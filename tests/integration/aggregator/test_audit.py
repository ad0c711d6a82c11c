"""The auditor finds what an aggregator lost or counted twice, from the topics alone."""

import msgspec

from emostream.swarms.log import SwarmLog
from emostream.swarms.rules import Batch, Compression, Group, next_swarm
from tests.conftest import RunTier, Tier
from tests.integration.aggregator.conftest import Log
from tests.integration.asking import metric
from tests.integration.viewers import wait_until


def found(audit: Tier) -> dict[str, float]:
    names = ("accepted", "counted", "lost", "doubled")
    return {name: metric(audit.port, f"emostream_audit_{name}_reactions") for name in names}


def test_a_swarm_with_other_counts_than_its_records_is_found_out(log: Log, run_tier: RunTier) -> None:
    audit = run_tier(
        "audit", environment={"EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": ",".join(log.settings.bootstrap_servers)}
    )
    (first,) = log.swarms()
    log.send("🔥", "🔥", "👏")
    log.producer.flush(60)
    ends = log.ends()
    (partition,) = (number for number, end in ends.items() if end)
    groups = [Group(partition, "🔥", 2, 1, 0, 0), Group(partition, "👏", 1, 0, 0, 0)]
    right = next_swarm(first, Batch(ends, groups), 1, 500, Compression(1_000, "ceil"))
    counts = {"🔥": 1, "👏": 2}
    with SwarmLog(log.settings, 10_000) as swarms:
        swarms.append(msgspec.structs.replace(right, counts=counts, totals=counts))
    wrong = {"accepted": 3, "counted": 3, "lost": 1, "doubled": 1}
    wait_until(lambda: found(audit) == wrong, 60, lambda: found(audit))
    assert "the count is wrong" in audit.process.log_text()
