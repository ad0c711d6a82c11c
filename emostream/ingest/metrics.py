"""What ingest counts."""

from prometheus_client import Counter, Gauge, Histogram

reactions_accepted = Counter(
    "emostream_ingest_reactions_accepted_total", "Reactions that Kafka acknowledged.", ["event"]
)
limited_reactions = Counter(
    "emostream_ingest_reactions_limited_total", "Reactions that got 429, because their user had sent too many."
)
unknown_reactions = Counter(
    "emostream_ingest_reactions_unknown_total", "Reactions whose request got 504: Kafka may or may not have them."
)
group_requests = Histogram(
    "emostream_ingest_group_requests",
    "Requests in one Kafka record.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
commit_seconds = Histogram(
    "emostream_ingest_commit_seconds",
    "Time from sending a record to its acknowledgement.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60),
)
requests_in_flight = Gauge("emostream_ingest_requests_in_flight", "Requests that Kafka has not acknowledged yet.")
bytes_in_flight = Gauge("emostream_ingest_bytes_in_flight", "Bytes that Kafka has not acknowledged yet.")
producers_replaced = Counter("emostream_ingest_producers_replaced_total", "Producers given up after a failed record.")
