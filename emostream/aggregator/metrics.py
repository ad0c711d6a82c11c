"""The Prometheus metrics of the aggregator."""

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "emostream_aggregator"

LEADER = Gauge(f"{_PREFIX}_leader", "1 while this process leads, 0 while it stands by.")
SEQUENCE = Gauge(f"{_PREFIX}_sequence", "Sequence of the last swarm that was written or read back.")
LAG = Gauge(f"{_PREFIX}_lag_records", "Records of `reactions` that no swarm had counted at the last check.")

SWARMS = Counter(f"{_PREFIX}_swarms_total", "Swarms written.")
REACTIONS = Counter(f"{_PREFIX}_reactions_total", "Reactions counted.", ["event"])
DEAD_LETTERS = Counter(f"{_PREFIX}_dead_letters_total", "Invalid records, written to the dead-letter topic.")
UNUSED_OFFSETS = Counter(
    f"{_PREFIX}_unused_offsets_total", "Offsets of `reactions` without a record, such as those of transaction markers."
)

BATCH = Histogram(
    f"{_PREFIX}_batch_seconds",
    "Time from the start of a micro-batch until its swarm is committed.",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
COMMIT = Histogram(
    f"{_PREFIX}_commit_seconds",
    "Time to write a swarm in its transaction.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)
