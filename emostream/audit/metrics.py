"""What the auditor found. In reactions, since the stream of swarms began."""

from prometheus_client import Gauge

_PREFIX = "emostream_audit"

ACCEPTED = Gauge(f"{_PREFIX}_accepted_reactions", "Reactions written to the topic `reactions`.")
COUNTED = Gauge(f"{_PREFIX}_counted_reactions", "Reactions in the newest totals that were checked.")
LOST = Gauge(f"{_PREFIX}_lost_reactions", "Reactions that a swarm should have counted and did not.")
DOUBLED = Gauge(f"{_PREFIX}_doubled_reactions", "Reactions that a swarm counted more than once, or made up.")
WAITING = Gauge(f"{_PREFIX}_waiting_records", "Records read that no swarm covers yet.")
