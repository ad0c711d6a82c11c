"""How many seats one address may reserve. Pure: the time is an argument."""

from collections import Counter, deque


class PendingByAddress:
    """Counts what each address took in the last `seconds`, so that nobody reserves every seat.

    The registry does not learn which of its viewers have connected, so a reservation counts for its whole time.
    """

    def __init__(self, most: int, seconds: float) -> None:
        """`most` is for each address; 0 for any number."""
        self._most = most
        self._seconds = seconds
        # As many as were taken within `seconds`.
        self._taken: deque[tuple[float, str]] = deque()
        self._count: Counter[str] = Counter()

    def has_room(self, address: str, now: float) -> bool:
        while self._taken and self._taken[0][0] <= now:
            _, gone = self._taken.popleft()
            self._count[gone] -= 1
            if not self._count[gone]:
                del self._count[gone]
        return not self._most or self._count[address] < self._most

    def take(self, address: str, now: float) -> None:
        """Note what was given to this address."""
        if self._most:
            self._taken.append((now + self._seconds, address))
            self._count[address] += 1
