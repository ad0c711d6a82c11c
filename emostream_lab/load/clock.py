"""Bounds the difference between the aggregator's clock and this worker's clock, from the order of events.

A window ends after the last reaction of its swarm is sent, and before the first viewer sees the swarm. This worker's
clock gives the time of these two events. The aggregator's clock gives the end of the window. Each swarm therefore gives
a lower and an upper bound. On one machine, 0 lies between the bounds.
"""

import math


class ClockDifference:
    """The aggregator's clock minus this worker's clock: between `least_ms` and `most_ms` milliseconds."""

    def __init__(self) -> None:
        self.least_ms = -math.inf
        self.most_ms = math.inf

    def observe(self, window_end_ms: float, last_sent_ms: float, first_seen_ms: float) -> None:
        """Narrow the bounds by one swarm. `window_end_ms` is the aggregator's time; the other two are this worker's."""
        self.least_ms = max(self.least_ms, window_end_ms - first_seen_ms)
        self.most_ms = min(self.most_ms, window_end_ms - last_sent_ms)

    @property
    def correction_ms(self) -> float:
        """Milliseconds to subtract from the aggregator's times.

        It is 0 while 0 lies between the bounds or a bound is missing, and otherwise the middle of the bounds.
        """
        if self.least_ms <= 0 <= self.most_ms or math.isinf(self.most_ms - self.least_ms):
            return 0.0
        return (self.least_ms + self.most_ms) / 2

    def __str__(self) -> str:
        if math.isinf(self.least_ms):
            return "not measured, nothing corrected"
        if math.isinf(self.most_ms):
            return f"{self.least_ms:+.0f} ms or more, nothing corrected"
        # Round outwards, so that the printed bounds still hold.
        bounds = f"between {math.floor(self.least_ms):+d} and {math.ceil(self.most_ms):+d} ms"
        return f"{bounds}, {f'{self.correction_ms:+.0f} ms corrected' if self.correction_ms else 'nothing corrected'}"
