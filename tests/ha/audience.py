"""An audience on the control node, which reacts and watches while hosts die, and how long its ways stood still."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise

import msgspec

from emostream import model
from emostream.client import connection
from emostream.client.errors import NoAnswerError
from emostream.client.http1 import Address, post_json
from emostream.client.outcome import Accepted
from emostream.client.reactions import ReactionSender
from emostream.client.viewer import Live, Viewer
from emostream_lab.account.account import Account
from emostream_lab.account.tally import Spectator, Tally
from tests.deployment import control

URL = "https://192.168.60.90"
"""The virtual address of the gateways of inventory/ha."""

EMOJI = "🚀"
_VIEWERS = 24
# As many requests ask for an assignment.
_REQUESTS_PER_SECOND = 20
_REACTIONS_A_REQUEST = 5
# A request to a dead host waits long, so the next ones do not wait for it.
_CONNECTIONS = 400
_ASK_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Stillness:
    """The longest times without an accepted reaction, without a swarm, and without an assignment.

    Of the swarms: that of each viewer whose subscriber died, or, if none did, that of the viewer who waited longest.
    """

    reactions_seconds: float
    swarms_seconds: list[float]
    assignments_seconds: float


class Audience:
    """Viewers and senders of one system that nobody else uses. All times are those of `time.monotonic`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tally = Tally()
        self._accepted_at: list[float] = []
        self._assigned_at: list[float] = []
        self._swarms_at: list[list[float]] = [[] for _ in range(_VIEWERS)]
        self._tokens = control.tokens("ha")
        self.viewers = [
            Viewer(
                url,
                f"viewer{number}",
                on_message=self._taker(number),
                protocol=("sse", "ws")[number % 2],
                token=self._tokens.source(f"viewer{number}", "watch"),
            )
            for number in range(_VIEWERS)
        ]
        self._tally.spectators += [Spectator(viewer.watcher) for viewer in self.viewers]
        self._total_before = 0
        # By the swarms that the first viewer saw.
        self._by_swarms = 0
        self._assignments = Address.of(f"{url}/v1/assignments")
        question = model.encode(model.AssignmentRequest("newcomer"))
        # An audience with so many newcomers is no single address of the limits.
        self._request = post_json(self._assignments, question, self._tokens.sign("newcomer", "watch", "relay"))

    def watching(self, host: str) -> list[int]:
        """The numbers of the viewers whose subscriber is on a host."""
        states = [viewer.state for viewer in self.viewers]
        return [n for n, state in enumerate(states) if isinstance(state, Live) and host in state.subscriber]

    def stillness(self, since: float, orphans: Sequence[int] = ()) -> Stillness:
        """How long each way stood still since then, as seen now. `orphans` are viewers whose subscriber died then."""
        now = time.monotonic()
        swarms = [_longest(times, since, now) for times in self._swarms_at]
        return Stillness(
            _longest(self._accepted_at, since, now),
            [swarms[number] for number in orphans] or [max(swarms)],
            _longest(self._assigned_at, since, now),
        )

    def flows(self, since: float) -> bool:
        """Whether a reaction was accepted, an assignment was given and each viewer saw a swarm since then."""
        ways = [self._accepted_at, self._assigned_at, *self._swarms_at]
        return all(times and times[-1] > since for times in ways)

    def problems(self) -> list[str]:
        """What is wrong in the account of all that was sent and seen; empty if nothing is."""
        seen = self._tally.account(self._newest())
        counted = Account(by_totals={EMOJI: self._counted()}, by_swarms={EMOJI: self._by_swarms})
        # Where each record was counted is in the log, which is not read here.
        return (msgspec.structs.replace(seen, in_flight=0) + counted).problems(under_faults=True)

    def summary(self) -> str:
        sent = self._tally
        return (
            f"accepted {sent.accepted.total():,}, counted {self._counted():,}, "
            f"outcome unknown {sent.unknown.total():,}, refused {sent.refused.total():,}"
        )

    @contextlib.asynccontextmanager
    async def attending(self) -> AsyncIterator[None]:
        """React and watch within the block. At its end, wait until all that was accepted has been seen."""
        is_over = asyncio.Event()
        tasks = [asyncio.create_task(viewer.run()) for viewer in self.viewers]
        try:
            await until(lambda: all(isinstance(viewer.state, Live) for viewer in self.viewers), 120)
            await until(lambda: all(viewer.watcher.snapshots for viewer in self.viewers), 120)
            self._total_before, self._by_swarms = self.viewers[0].watcher.totals.get(EMOJI, 0), 0
            async with ReactionSender(self._url, _CONNECTIONS, token=self._tokens.source("ha", "relay")) as sender:
                acting = asyncio.create_task(self._act(sender, is_over))
                yield
                is_over.set()
                await acting
            with contextlib.suppress(TimeoutError):
                await until(self._is_settled, 180)
        finally:
            is_over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _taker(self, number: int) -> Callable[[model.ViewerMessage], None]:
        def take(message: model.ViewerMessage) -> None:
            self._swarms_at[number].append(time.monotonic())
            if isinstance(message, model.Swarm):
                self._tally.seen(message, time.monotonic())
                if number == 0:
                    self._by_swarms += message.counts.get(EMOJI, 0)

        return take

    def _newest(self) -> int:
        return max(viewer.watcher.sequence for viewer in self.viewers)

    def _counted(self) -> int:
        return self.viewers[0].watcher.totals.get(EMOJI, 0) - self._total_before

    def _is_settled(self) -> bool:
        return self._counted() >= self._tally.accepted.total() and not self._tally.behind(self._newest())

    async def _act(self, sender: ReactionSender, is_over: asyncio.Event) -> None:
        """React and ask for assignments at constant rates, whatever the answers are, and wait for the last answers."""
        async with asyncio.TaskGroup() as requests:
            while not is_over.is_set():
                requests.create_task(self._react(sender))
                requests.create_task(self._ask())
                await asyncio.sleep(1 / _REQUESTS_PER_SECOND)

    async def _react(self, sender: ReactionSender) -> None:
        reactions = [model.Reaction("audience", EMOJI, time.time_ns() // 1_000_000)] * _REACTIONS_A_REQUEST
        outcome = await sender.send(reactions)
        self._tally.sent(reactions, outcome, time.monotonic())
        if isinstance(outcome, Accepted):
            self._accepted_at.append(time.monotonic())

    async def _ask(self) -> None:
        """Ask for an assignment as a new viewer does. It is not used, so its seat is free again soon."""
        with contextlib.suppress(NoAnswerError):
            if (await connection.ask(self._assignments, self._request, _ASK_TIMEOUT_SECONDS)).status == HTTPStatus.OK:
                self._assigned_at.append(time.monotonic())


def _longest(times: Iterable[float], since: float, now: float) -> float:
    """The longest time between two of these times since then. The beginning and now are two of them."""
    moments = [since, *(moment for moment in times if moment > since), now]
    return max(after - before for before, after in pairwise(moments))


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Return once the condition holds. Raises TimeoutError if that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.1)
