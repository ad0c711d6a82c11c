"""How a crowd taps: evenly, and all over the place when a goal falls. Pure; chance is passed in."""

from collections.abc import Callable

from emostream.model import Reaction

_FIRST_GOAL_SECONDS = 10
_SECONDS_BETWEEN_GOALS = 20
_JOY_SECONDS = 3
# In their joy people tap so often that their client sends several taps at once.
_TAPS_IN_JOY = 5
# As many people as tap in turn: user and timestamp together make each reaction unique at any rate.
_PEOPLE = 100_000

_PLAY = ("👍", "👏", "😂", "😮", "❤️", "🔥", "😭", "👎")
_JOY = ("🎉", "🔥", "❤️")


def is_goal(elapsed_seconds: float) -> bool:
    """Whether a goal has just fallen."""
    since_first = elapsed_seconds - _FIRST_GOAL_SECONDS
    return since_first >= 0 and since_first % _SECONDS_BETWEEN_GOALS < _JOY_SECONDS


class Crowd:
    """Makes the reactions of people whose names start with `prefix`, so that they can be told from others."""

    def __init__(self, prefix: str, choose: Callable[[tuple[str, ...]], str]) -> None:
        self._prefix = prefix
        self._choose = choose
        self._next_person = 0

    def taps(self, elapsed_seconds: float, now_ms: int) -> list[Reaction]:
        """What the next person sends: one tap, or several of one emoji while a goal is celebrated."""
        self._next_person = (self._next_person + 1) % _PEOPLE
        user = f"{self._prefix}{self._next_person}"
        if is_goal(elapsed_seconds):
            emoji = self._choose(_JOY)
            return [Reaction(user, emoji, now_ms + tap) for tap in range(_TAPS_IN_JOY)]
        return [Reaction(user, self._choose(_PLAY), now_ms)]
