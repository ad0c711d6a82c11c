"""What a publisher counts."""

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "emostream_publisher"

LEADER = Gauge(f"{_PREFIX}_leader", "1 while this publisher relays, 0 while it stands by.")
TERMS = Counter(f"{_PREFIX}_terms_total", "Times that relaying began, after an election or a failure.")
RELAYED = Counter(f"{_PREFIX}_relayed_swarms_total", "Swarms that the cluster's topic has acknowledged.")
REPEATS = Counter(
    f"{_PREFIX}_repeats_total", "Swarms read again and not relayed, because the cluster has them; one a term is normal."
)
GAPS = Counter(f"{_PREFIX}_gaps_total", "Times that swarms were deleted before they were relayed.")
NEW_STREAMS = Counter(f"{_PREFIX}_new_streams_total", "New streams of swarms that have begun.")
UNREADABLE = Counter(f"{_PREFIX}_unreadable_records_total", "Records of `swarms` that are not swarms.")
IN_FLIGHT = Gauge(f"{_PREFIX}_in_flight_swarms", "Swarms sent and not acknowledged yet.")
LAG = Gauge(f"{_PREFIX}_lag_records", "Records of `swarms` that are not read yet.")
SEQUENCE = Gauge(f"{_PREFIX}_head_sequence", "Sequence of the last swarm that the cluster's topic has acknowledged.")
LATENCY = Histogram(
    f"{_PREFIX}_relay_seconds",
    "Time from a swarm's timestamp in `swarms` until the cluster's topic acknowledged it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
