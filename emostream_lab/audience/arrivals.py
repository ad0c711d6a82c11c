"""Schedules requests at times that the system under test cannot delay.

This is an open-loop schedule: each request has a due time, and its latency counts from that time. A generator that
waits for an answer before it schedules the next request sends less to a slow system, and measures only the requests
that it sent.
"""

from collections.abc import Callable

# The rate is treated as constant for this long. An audience changes its rate over seconds, which is far longer.
_STEP_SECONDS = 0.05


def next_due(
    after_seconds: float, until_seconds: float, rate_at: Callable[[float], float], unit_exponential: float
) -> float:
    """Return the time of the next request, or the end time if no request is due before it.

    The requests form a Poisson process with a changing rate. `rate_at` returns requests per second at a time in
    seconds. `unit_exponential` is one draw from the exponential distribution with mean 1. It is the integral of the
    rate from `after_seconds` to the next request.
    """
    due, rest = after_seconds, unit_exponential
    while due < until_seconds:
        rate = rate_at(due)
        if rate * _STEP_SECONDS > rest:
            return min(due + rest / rate, until_seconds)
        rest -= rate * _STEP_SECONDS
        due += _STEP_SECONDS
    return until_seconds
