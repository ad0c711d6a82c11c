"""Viewers that watch through the gateway while reactions are sent, and what each one saw."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from emostream import model
from emostream.client.outcome import Accepted, Unknown
from emostream.client.reactions import ReactionSender
from emostream.client.viewer import Live, Viewer
from emostream.operate import status
from tests.deployment import control
from tests.deployment.hosts import GATEWAY_URL

EMOJI = "🚀"
# Four on each subscriber.
_VIEWERS = 36
_REACTIONS_A_REQUEST = 10
_SEND_EVERY_SECONDS = 0.1


class Audience:
    """The viewers, and what was sent while they watched.

    With `may_wait`, requests may be refused or without an answer, such as while a tier of one host restarts.
    """

    def __init__(self, *, may_wait: bool = False) -> None:
        self._may_wait = may_wait
        self._tokens = control.tokens("vagrant")
        self.viewers = [
            Viewer(GATEWAY_URL, f"viewer{number}", token=self._tokens.source(f"viewer{number}", "watch"))
            for number in range(_VIEWERS)
        ]
        self.accepted = 0
        self.unknown = 0
        self.is_over = False
        self._before: list[int] = []

    def begin(self) -> None:
        """Count from now on."""
        self._before = self._totals()

    def on(self, subscriber: str) -> int:
        """How many viewers this subscriber has."""
        return sum(isinstance(viewer.state, Live) and viewer.state.subscriber == subscriber for viewer in self.viewers)

    def are_all_live(self) -> bool:
        return all(isinstance(viewer.state, Live) for viewer in self.viewers)

    def seen(self) -> list[int]:
        """How many of the reactions that were sent here each viewer has been shown."""
        return [now - before for now, before in zip(self._totals(), self._before, strict=True)]

    def _totals(self) -> list[int]:
        return [viewer.watcher.totals.get(EMOJI, 0) for viewer in self.viewers]

    async def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Return once the condition holds. Fails the test if that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [viewer.state for viewer in self.viewers]
            await asyncio.sleep(0.05)

    async def react(self) -> None:
        """Send until `is_over`. Fails where a request is not accepted, unless it may wait."""
        async with ReactionSender(GATEWAY_URL, token=self._tokens.source("audience", "relay")) as sender:
            while not self.is_over:
                reaction = model.Reaction("audience", EMOJI, time.time_ns() // 1_000_000)
                outcome = await sender.send([reaction] * _REACTIONS_A_REQUEST)
                assert self._may_wait or isinstance(outcome, Accepted), outcome
                self.accepted += _REACTIONS_A_REQUEST * isinstance(outcome, Accepted)
                self.unknown += _REACTIONS_A_REQUEST * isinstance(outcome, Unknown)
                await asyncio.sleep(_SEND_EVERY_SECONDS)


@contextlib.asynccontextmanager
async def watching(*, may_wait: bool = False) -> AsyncIterator[Audience]:
    """An audience that has arrived, and to which reactions are sent until the block ends.

    Then each viewer must have seen all that was accepted, once and in order. For a system that is otherwise quiet.
    """
    audience = Audience(may_wait=may_wait)
    tasks = [asyncio.create_task(viewer.run()) for viewer in audience.viewers]
    try:
        await audience.until(lambda: all(viewer.watcher.snapshots for viewer in audience.viewers))
        audience.begin()
        reacting = asyncio.create_task(audience.react())
        tasks.append(reacting)
        yield audience
        audience.is_over = True
        await reacting
        await audience.until(lambda: all(seen >= audience.accepted for seen in audience.seen()))
        [seen_by_all] = set(audience.seen())
        assert audience.accepted <= seen_by_all <= audience.accepted + audience.unknown
        for viewer in audience.viewers:
            seen = viewer.watcher
            faults = (seen.resets, seen.gaps, seen.lost, seen.repeats, seen.mismatches)
            assert (seen.snapshots, faults) == (1, (0, 0, 0, 0, 0))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def live_subscribers() -> list[str]:
    """The subscribers to which the registry sends viewers."""
    return sorted(subscriber.name for subscriber in asyncio.run(status.fetch(GATEWAY_URL)).subscribers)
