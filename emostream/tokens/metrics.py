"""What is counted of tokens."""

from prometheus_client import Counter, Gauge

REFUSALS = Counter("emostream_tokens_refusals_total", "Requests refused for lack of a token or of a right.", ["reason"])
KEYS = Gauge("emostream_tokens_keys", "Keys by which tokens are checked; 0: everybody may do everything.")
FAILED_RELOADS = Counter(
    "emostream_tokens_failed_reloads_total", "Times the changed file of the keys gave none, so the old ones stayed."
)
