"""What the registry counts."""

from prometheus_client import Counter, Gauge

_PREFIX = "emostream_registry"

ASSIGNMENTS = Counter(f"{_PREFIX}_assignments_total", "Viewers that were assigned to a subscriber.", ["cluster"])
REFUSALS = Counter(f"{_PREFIX}_refused_assignments_total", "Viewers that were told to ask again later.", ["reason"])
GUESTS = Counter(f"{_PREFIX}_guest_tokens_total", "Tokens given to guests.")
CHANGES = Counter(f"{_PREFIX}_changes_total", "Nodes of ZooKeeper that were added, changed or removed.", ["change"])
UNREADABLE = Counter(f"{_PREFIX}_unreadable_nodes_total", "Nodes in ZooKeeper that describe no known process.")
STALE = Gauge(f"{_PREFIX}_stale", "1 while ZooKeeper is away and the last view is kept, else 0.")
