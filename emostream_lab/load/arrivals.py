"""When requests are due: a schedule that the system under load cannot slow down.

Each request has a time at which it should be sent, and its latency counts from there. A generator that waits for one
answer before it thinks of the next request would send less to a slow system, and time only what it sent.
"""

from collections.abc import Callable

# The rate counts as constant for this long: far below the seconds in which an audience changes its mind.
_STEP_SECONDS = 0.05


def next_due(
    after_seconds: float, until_seconds: float, rate_at: Callable[[float], float], unit_exponential: float
) -> float:
    """The time of the next request of a Poisson process whose rate changes, or the end where none is due before it.

    `rate_at` gives requests per second at a time in seconds; `unit_exponential` is one draw from the exponential
    distribution of mean 1, which is how much of the rate's integral passes before the next request.
    """
    due, rest = after_seconds, unit_exponential
    while due < until_seconds:
        rate = rate_at(due)
        if rate * _STEP_SECONDS > rest:
            return min(due + rest / rate, until_seconds)
        rest -= rate * _STEP_SECONDS
        due += _STEP_SECONDS
    return until_seconds
