"""The id of a request, which its answer, the logs and the record of its reactions name. Pure.

The first that has a request gives it one, in front of us a gateway. It begins with the time in ms since the epoch and
`-`, so that whoever looks for it knows where to look.
"""

import random
import re

HEADER = "X-Request-Id"
# What else a client sends could write into a log.
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIMED = re.compile(r"(\d{13})-.+")


def is_well_formed(text: str) -> bool:
    """Return whether this may be the id of a request."""
    return _WELL_FORMED.fullmatch(text) is not None


def of(sent: str | None, now_ms: int) -> str:
    """Return the id that a request came with, if it is well formed, or else a new one."""
    # It is no secret, and 48 bits tell apart the requests of a millisecond.
    return sent if sent is not None and is_well_formed(sent) else f"{now_ms}-{random.getrandbits(48):012x}"


def time_ms(request_id: str) -> int | None:
    """Return when a request came, or None if its id does not tell."""
    timed = _TIMED.fullmatch(request_id)
    return None if timed is None else int(timed[1])
