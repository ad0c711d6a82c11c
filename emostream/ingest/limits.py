"""How fast one user may react. Pure: the time is an argument."""

import math


class UserLimits:
    """A token bucket for each user: `per_second` reactions on average, and `burst` of them at once.

    A bucket is kept as the time at which it is full again. One that is full need not be kept, so all that are older
    than the longest refill are dropped together. Above `max_users` they are dropped earlier, and a user who was
    forgotten has a full bucket.
    """

    def __init__(self, per_second: float, burst: int, max_users: int) -> None:
        self._seconds_each = 1 / per_second
        self._refill_seconds = burst / per_second
        self._max_users = max_users
        # Two generations. Each has half of the users at most.
        self._full_at: dict[str, float] = {}
        self._older: dict[str, float] = {}
        self._renew_at = -math.inf

    def take(self, user_id: str, reactions: int, now: float) -> float:
        """Take so many reactions. Returns 0, or if there is no room for them, after how many seconds there is.

        More than the burst never fit, so the time is that of a refill then, and the caller tells the user the bound.
        """
        if now >= self._renew_at or 2 * len(self._full_at) >= self._max_users:
            self._renew(now)
        known = self._full_at.get(user_id)
        if known is None:
            known = self._older.get(user_id, now)
        full_at = max(known, now) + reactions * self._seconds_each
        excess_seconds = full_at - now - self._refill_seconds
        # The sum of many small steps is not exact.
        if excess_seconds > 1e-6:
            return min(excess_seconds, self._refill_seconds)
        self._full_at[user_id] = full_at
        return 0

    def _renew(self, now: float) -> None:
        # What the older generation has is full by now, unless it goes early.
        self._older, self._full_at = self._full_at, {}
        self._renew_at = now + self._refill_seconds
