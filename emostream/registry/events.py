"""The events as viewers are told of them: which there are, and what each subscriber says of them now."""

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from emostream import model
from emostream.client.errors import NoAnswerError
from emostream.events.steps import Seen
from emostream.events.table import Definition, Table
from emostream.model import MAIN, Count
from emostream.registry.live import OnceASecond, RegisteredProcess, ask, of_each

_MAIN_TITLE = "Main"


class Figures(msgspec.Struct):
    """What a subscriber says of one event, or all of them together."""

    event: str
    viewers: int = 0
    reactions: int = 0
    reactions_per_second: float = 0


class Listed(msgspec.Struct, frozen=True):
    """An event in the answer to GET /v1/events."""

    event: str
    title: str
    viewers: Count
    reactions: Annotated[Count, msgspec.Meta(description="Since it was opened.")]
    reactions_per_second: Annotated[float, msgspec.Meta(ge=0, description="In the last ten seconds.")]


class Listing(msgspec.Struct, frozen=True):
    """The answer to GET /v1/events."""

    events: list[Listed]


class Events:
    """The table of events as ZooKeeper last said, and the subscribers' figures. To be used on one event loop."""

    def __init__(self, registered: Callable[[], Sequence[RegisteredProcess]]) -> None:
        self.table: Table = {}
        self.is_current = False
        self._registered = registered
        self._figures = OnceASecond(self._collect)

    def follow(self, seen: Seen) -> None:
        """Take what a follower saw."""
        self.table, self.is_current = seen.view.table, seen.is_current

    def find(self, event: str) -> Definition | None:
        """Return an event that viewers can watch, also after its end; None if there is none."""
        known = self.table.get(event)
        return None if known is None or known.state in {"opening", "archiving"} else known

    async def listed(self) -> Listing:
        """Return the open events that are listed, `main` first, then by title."""
        titles = {event: each.title for event, each in self.table.items() if each.listed and each.state == "open"}
        figures = await self._figures.get()
        names = [MAIN, *sorted(titles, key=lambda event: (titles[event], event))]
        listed = [_listed(titles.get(event, _MAIN_TITLE), figures.get(event) or Figures(event)) for event in names]
        return Listing(listed)

    async def _collect(self) -> dict[str, Figures]:
        subscribers = [each for each in self._registered() if each.tier == "subscriber"]
        found: dict[str, Figures] = {}
        for answer in await of_each(subscribers, _figures_of):
            for each in answer:
                of_all = found.setdefault(each.event, Figures(each.event))
                of_all.viewers += each.viewers
                # Each subscriber has the totals of all reactions; the one that is ahead has the newest.
                of_all.reactions = max(of_all.reactions, each.reactions)
                of_all.reactions_per_second = max(of_all.reactions_per_second, each.reactions_per_second)
        return found


async def _figures_of(subscriber: RegisteredProcess) -> list[Figures]:
    """What one subscriber says; nothing if it does not answer in time."""
    try:
        answer = await ask(subscriber, "/v1/events")
        return model.decode(answer.body, list[Figures])
    except (NoAnswerError, ValueError):
        return []


def _listed(title: str, figures: Figures) -> Listed:
    return Listed(figures.event, title, figures.viewers, figures.reactions, figures.reactions_per_second)
