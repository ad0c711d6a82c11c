"""`emostream verify`: reacts, and watches at every subscriber until each has shown all of it, counted exactly."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from emostream import model
from emostream.client.errors import StreamLostError
from emostream.client.outcome import Accepted
from emostream.client.reactions import ReactionSender
from emostream.client.streams import SseStream
from emostream.client.token import newest
from emostream.client.viewer import watch
from emostream.config import ClientSettings
from emostream.errors import EmoStreamError
from emostream.operate import status
from emostream.registry.topology import Subscriber
from emostream.tokens.own import OwnTokens

# Different numbers, so that counts that were mixed up do not pass. All are of the default palette.
SENT = Counter({"🔥": 1_203, "👏": 37, "🎉": 1})
_USER = "verification"
_REQUEST_REACTIONS = 500
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Verification:
    """What was seen: the reactions sent, the subscribers that showed them all, and how long the slowest took."""

    reactions: int
    subscribers: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.reactions} reactions were accepted, and counted exactly at a viewer of each of "
            f"{self.subscribers} subscribers within {self.seconds:.1f} s"
        )


async def verify(settings: ClientSettings, event: str, subscribers: int, timeout_seconds: float) -> Verification:
    """React to an event and watch it, at each subscriber.

    What others send to this event meanwhile makes it fail. Raises EmoStreamError if fewer than `subscribers` come in
    time, or if one does not show exactly what was sent.
    """
    deadline = time.monotonic() + timeout_seconds
    tokens = OwnTokens.load()
    token = await newest(tokens.source(_USER, "watch"))
    found = await _find(settings.registry_url, subscribers, deadline)
    watches = [_Watch(subscriber, event, token) for subscriber in found]
    watching = [asyncio.create_task(watch.run()) for watch in watches]
    try:
        await _all_before(deadline, watches, watching, "began")
        started = time.monotonic()
        await _send(settings.ingest_url, event, tokens)
        await _all_before(deadline, watches, watching, "is_complete")
        return Verification(SENT.total(), len(watches), time.monotonic() - started)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


class _Watch:
    """A viewer of one subscriber, which adds up what it is shown."""

    def __init__(self, subscriber: Subscriber, event: str, token: str | None) -> None:
        self.name = subscriber.name
        self.began = False
        self.seen: Counter[str] = Counter()
        self._stream = SseStream(f"{subscriber.url}{model.event_path(event)}/stream", token=token)

    @property
    def is_complete(self) -> bool:
        """Whether it saw all that was sent. Raises EmoStreamError where it saw more, which no waiting mends."""
        if more := self.seen - SENT:
            raise EmoStreamError(
                f"{self.name} showed more than was sent: {dict(more)} beyond {dict(SENT)}. Does someone else react to "
                "this event? If not, reactions were counted twice."
            )
        return self.seen == SENT

    async def run(self) -> None:
        """Watch until cancelled. Raises EmoStreamError where the stream is lost."""
        try:
            await watch(self.name, self._stream, self._take)
        except StreamLostError as error:
            raise EmoStreamError(f"the stream of {self.name} was lost: {error}.") from error

    def _take(self, message: model.ViewerMessage) -> None:
        self.began = True
        if isinstance(message, model.Swarm):
            self.seen.update(message.counts)


async def _find(registry_url: str, wanted: int, deadline: float) -> list[Subscriber]:
    while True:
        view = await status.fetch(registry_url)
        found = view.subscribers
        if len(found) >= wanted:
            return found
        if time.monotonic() > deadline:
            names = ", ".join(subscriber.name for subscriber in found) or "none"
            raise EmoStreamError(
                f"{wanted} subscribers were expected, but the registry knows {len(found)} ({names}): is "
                "emostream-subscriber@ active on each edge host?"
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _all_before(
    deadline: float, watches: list[_Watch], watching: list[asyncio.Task[None]], condition: str
) -> None:
    """Wait until the condition holds for all. Raises EmoStreamError, also where a watch ended."""
    while missing := [watch for watch in watches if not getattr(watch, condition)]:
        for task in watching:
            if task.done():
                task.result()
        if time.monotonic() > deadline:
            seen = "; ".join(f"{watch.name} showed {dict(watch.seen)}" for watch in missing)
            raise EmoStreamError(f"{len(missing)} of {len(watches)} subscribers lack some of {dict(SENT)}: {seen}.")
        await asyncio.sleep(0.05)


async def _send(ingest_url: str, event: str, tokens: OwnTokens) -> None:
    now_ms = time.time_ns() // 1_000_000
    reactions = [model.Reaction(_USER, emoji, now_ms) for emoji in SENT.elements()]
    async with ReactionSender(ingest_url, event=event, token=tokens.source(_USER, "relay")) as sender:
        for start in range(0, len(reactions), _REQUEST_REACTIONS):
            outcome = await sender.send(reactions[start : start + _REQUEST_REACTIONS])
            if not isinstance(outcome, Accepted):
                raise EmoStreamError(f"ingest at {ingest_url} did not accept the reactions: {outcome.reason}")
