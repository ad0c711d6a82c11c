"""How far the aggregator's clock is from this worker's, bounded by cause and effect alone.

A window ends after the last reaction of its swarm was sent, and before the first viewer saw the swarm. Both of these
are times of this worker's clock, the window's end is one of the aggregator's, so each swarm bounds the difference
from both sides. On one machine, 0 lies between the bounds.
"""

import math


class ClockDifference:
    """The aggregator's clock minus ours, in milliseconds: at least `least_ms`, at most `most_ms`."""

    def __init__(self) -> None:
        self.least_ms = -math.inf
        self.most_ms = math.inf

    def observe(self, window_end_ms: float, last_sent_ms: float, first_seen_ms: float) -> None:
        """One swarm: its window's end by the aggregator's clock, the other two by ours."""
        self.least_ms = max(self.least_ms, window_end_ms - first_seen_ms)
        self.most_ms = min(self.most_ms, window_end_ms - last_sent_ms)

    @property
    def correction_ms(self) -> float:
        """What to take off the aggregator's times: 0 while the clocks may agree, else the middle of the bounds."""
        if self.least_ms <= 0 <= self.most_ms or math.isinf(self.most_ms - self.least_ms):
            return 0.0
        return (self.least_ms + self.most_ms) / 2

    def __str__(self) -> str:
        if math.isinf(self.least_ms):
            return "not measured, nothing corrected"
        if math.isinf(self.most_ms):
            return f"{self.least_ms:+.0f} ms or more, nothing corrected"
        # Rounded outwards, so that what is said is true.
        bounds = f"between {math.floor(self.least_ms):+d} and {math.ceil(self.most_ms):+d} ms"
        return f"{bounds}, {f'{self.correction_ms:+.0f} ms corrected' if self.correction_ms else 'nothing corrected'}"
