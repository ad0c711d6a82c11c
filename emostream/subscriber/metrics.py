"""What a subscriber counts."""

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "emostream_subscriber"

VIEWERS = Gauge(f"{_PREFIX}_viewers", "Viewers connected now.", ["kind", "event"])
CAPACITY = Gauge(f"{_PREFIX}_capacity_viewers", "Most viewers that it takes.")
BEHIND = Gauge(f"{_PREFIX}_behind_viewers", "Viewers that are reading the history, because they resume or are slow.")
HEAD = Gauge(f"{_PREFIX}_head_sequence", "Sequence of the newest swarm.")
HISTORY_SWARMS = Gauge(f"{_PREFIX}_history_swarms", "Swarms in the history.")
HISTORY_BYTES = Gauge(f"{_PREFIX}_history_bytes", "Bytes of the history.")

DELIVERIES = Counter(f"{_PREFIX}_deliveries_total", "Swarms written to viewers.")
BYTES = Counter(f"{_PREFIX}_delivered_bytes_total", "Bytes of swarms, snapshots and resets written to viewers.")
SNAPSHOTS = Counter(f"{_PREFIX}_snapshots_total", "Snapshots written to new viewers.")
RESETS = Counter(f"{_PREFIX}_resets_total", "Resets written to viewers whose next swarm the history does not hold.")
REPEATS = Counter(f"{_PREFIX}_repeats_total", "Records dropped because their swarm is known or their stream has ended.")
GAPS = Counter(f"{_PREFIX}_gaps_total", "Gaps in the sequences of the cluster's topic.")
NEW_STREAMS = Counter(f"{_PREFIX}_new_streams_total", "New streams of swarms that have begun.")
UNREADABLE = Counter(f"{_PREFIX}_unreadable_records_total", "Records of the cluster's topic that are not swarms.")
LOST_POSITIONS = Counter(
    f"{_PREFIX}_lost_positions_total", "Times the cluster's topic no longer held the offset to read next."
)
PAUSES = Counter(f"{_PREFIX}_slow_pauses_total", "Times that sending to a viewer paused, because its buffer was full.")
SLOW_CLOSES = Counter(f"{_PREFIX}_slow_closes_total", "Viewers closed because they read nothing for too long.")
EXPIRIES = Counter(f"{_PREFIX}_token_expiries_total", "Viewers told goodbye because their token had expired.")
REFUSALS = Counter(f"{_PREFIX}_refusals_total", "Viewers refused.", ["reason"])
DROPPED_HANDSHAKES = Counter(
    f"{_PREFIX}_dropped_handshakes_total", "Connections dropped because too many had not sent their request yet."
)

FAN_OUT = Histogram(
    f"{_PREFIX}_fan_out_seconds",
    "Time to write one swarm to all viewers.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
AGE = Histogram(
    f"{_PREFIX}_swarm_age_seconds",
    "Time from the end of a swarm's window until it was written to all viewers.",
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30),
)
