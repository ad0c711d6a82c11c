"""Makes the reactions of a crowd: single taps, and several at once after a goal. Pure: chance is passed in."""

from collections.abc import Callable

from emostream.model import Reaction

_FIRST_GOAL_SECONDS = 10
_SECONDS_BETWEEN_GOALS = 20
_JOY_SECONDS = 3
# After a goal people tap so fast that their client sends several taps in one request.
_TAPS_IN_JOY = 5
# People tap in turn. There are so many that user and timestamp together make each reaction unique at any rate.
_PEOPLE = 100_000

_PLAY = ("👍", "👏", "😂", "😮", "❤️", "🔥", "😭", "👎")
_JOY = ("🎉", "🔥", "❤️")


def is_goal(elapsed_seconds: float) -> bool:
    """Return whether a goal was scored in the last 3 seconds."""
    since_first = elapsed_seconds - _FIRST_GOAL_SECONDS
    return since_first >= 0 and since_first % _SECONDS_BETWEEN_GOALS < _JOY_SECONDS


class People:
    """Makes the reactions of people whose names start with `prefix`, which sets them apart from real users."""

    def __init__(self, prefix: str, choose: Callable[[tuple[str, ...]], str]) -> None:
        self._prefix = prefix
        self._choose = choose
        self._next_person = 0

    def taps(self, elapsed_seconds: float, now_ms: int) -> list[Reaction]:
        """Return the taps that the next person sends: one, or several of the same emoji just after a goal."""
        self._next_person = (self._next_person + 1) % _PEOPLE
        user = f"{self._prefix}{self._next_person}"
        if is_goal(elapsed_seconds):
            emoji = self._choose(_JOY)
            return [Reaction(user, emoji, now_ms + tap) for tap in range(_TAPS_IN_JOY)]
        return [Reaction(user, self._choose(_PLAY), now_ms)]
