"""How many bytes of request bodies may be on their way in at the same time. Pure."""

SMALL_BODY_BYTES = 4 << 10


class BodyBudget:
    """The bytes held of bodies that are not complete yet, at most `max_bytes`; what does not fit is refused.

    The bytes that have arrived count, not the declared length. A quarter is for small bodies alone, so that clients
    that send large ones slowly do not shut out the others.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_bytes_for_large = max_bytes * 3 // 4
        self.held_bytes = 0

    def take(self, size: int, body_length: int) -> bool:
        """Hold `size` more bytes of a body whose whole length is `body_length`; False where they do not fit."""
        limit = self._max_bytes if body_length <= SMALL_BODY_BYTES else self._max_bytes_for_large
        if self.held_bytes + size > limit:
            return False
        self.held_bytes += size
        return True

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less: their body is complete, or given up."""
        self.held_bytes -= size
