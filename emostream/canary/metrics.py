"""What the canary counts."""

from prometheus_client import Counter, Histogram

_PREFIX = "emostream_canary"

REACTIONS = Counter(f"{_PREFIX}_reactions_total", "Reactions that it sent, by ingest's answer.", ["outcome"])
SEEN = Histogram(
    f"{_PREFIX}_seen_seconds",
    "Time from sending a reaction until a viewer of the cluster saw it. One that was not seen counts as the time-out.",
    ["cluster"],
    buckets=(0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20, 30),
)
UNSEEN = Counter(
    f"{_PREFIX}_unseen_total", "Reactions that no viewer of the cluster saw before the time-out.", ["cluster"]
)
