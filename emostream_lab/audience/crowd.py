"""Simulates an audience: sends reactions, watches swarms, and accounts for every reaction.

The account has three sources. The answers of ingest show what was accepted. The topic `swarms` shows what was counted.
Real viewers, which find their subscribers through the registry, show what was seen.
"""

import asyncio
import contextlib
import functools
import random
import resource
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from emostream import config, model
from emostream.client.outcome import Accepted, Unknown
from emostream.client.reactions import ReactionSender
from emostream.client.viewer import Viewer, ViewerState
from emostream.runtime import logs
from emostream_lab.account import figures
from emostream_lab.account.account import Account, Latencies, Post
from emostream_lab.account.figures import Figures
from emostream_lab.account.ledger import SwarmFollower, count_others
from emostream_lab.account.moves import Moves
from emostream_lab.audience.pace import Crowd
from emostream_lab.display import Display

log = logs.get(__name__)

_TICK_SECONDS = 0.01
_REPORT_SECONDS = 1.0
_VIEWERS_PER_SECOND = 250
_WEBSOCKET_SHARE = 5
# A request waits for Kafka's acknowledgement, so the number of connections limits the rate: 1,000 reactions/s are
# possible while acknowledgements take up to a quarter of a second.
_CONNECTIONS = 256
# The limit for open requests. Above it, due reactions are not sent but counted as refused, because a user cannot tap on
# a frozen page.
_MAX_IN_FLIGHT = 2_000
# How long the last viewer may take to connect.
_SEATS_SECONDS = 10
# How long it may take, after the last reaction, until all accepted reactions are counted and seen by every viewer.
_SETTLE_TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class Plan:
    """The size and duration of the audience. If `for_seconds` is None, it runs until SIGINT."""

    for_seconds: int | None
    reactions_per_second: int
    viewers: int


def run(plan: Plan, figures_file: str | None = None) -> int:
    """Run the audience; returns 0 if every accepted reaction was counted and seen exactly once, else 1.

    SIGINT ends it with an account. SIGTERM ends it at once. The figures go to `figures_file`, or to the terminal if
    that is None. Raises EmoStreamError if Kafka does not answer or `swarms` is empty.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    show = functools.partial(figures.write, Path(figures_file)) if figures_file else _show_on(Display())
    try:
        status: int = uvloop.run(_Audience(plan, show).attend())
    except asyncio.CancelledError:
        return 0
    return status


class _Audience:
    def __init__(self, plan: Plan, show: Callable[[Figures], None]) -> None:
        self._plan = plan
        self._show = show
        self._client = config.load(config.ClientSettings)
        self._kafka = config.load(config.KafkaSettings)
        self._prefix = f"crowd-{secrets.token_hex(3)}-"
        self._people = Crowd(self._prefix, random.choice)
        self._viewers: list[Viewer] = []
        self._moves = Moves()
        self._posts: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._silenced = asyncio.Event()

    async def attend(self) -> int:
        loop = asyncio.get_running_loop()
        self._end_on(signal.SIGTERM, signal.SIGINT)
        follower = SwarmFollower(self._kafka)
        self._account = Account(follower.last)
        with follower.following(loop, self._account.count):
            async with asyncio.TaskGroup() as group:
                meanwhile = [group.create_task(self._watch())]
                await self._take_seats()
                if self._plan.reactions_per_second:
                    await self._greet()
                self._started = loop.time()
                loop.add_signal_handler(signal.SIGINT, self._silenced.set)
                meanwhile.append(group.create_task(self._report()))
                await self._tap()
                seconds = self._elapsed()
                await self._settle()
                for task in meanwhile:
                    task.cancel()
        others = count_others(self._kafka, *self._account.progress, self._prefix)
        final = self._final_figures(seconds, others)
        self._show(final)
        return 0 if final.is_exact else 1

    def _end_on(self, *numbers: signal.Signals) -> None:
        task = asyncio.current_task()
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())

    # Reactions.

    async def _greet(self) -> None:
        """Send one reaction and wait until it is counted. The first batch of Spark is slow, so it is not measured."""
        async with ReactionSender(self._client.ingest_url) as sender:
            while not self._account.accepted:
                await self._post(sender, self._people.taps(0, _unix_ms()))
                await asyncio.sleep(_TICK_SECONDS)
        await _until(self._account.is_settled)
        self._account.latencies = Latencies()

    async def _tap(self) -> None:
        """Send reactions at a constant rate until the time is over, and wait for the last answers.

        The rate does not depend on how long the answers take.
        """
        due = 0
        async with ReactionSender(self._client.ingest_url, _CONNECTIONS) as sender:
            while not self._is_over():
                elapsed = self._elapsed()
                for _ in range(due, due := int(elapsed * self._plan.reactions_per_second)):
                    self._start_post(sender, elapsed)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._silenced.wait(), _TICK_SECONDS)
            if self._posts:
                await asyncio.wait(self._posts)

    def _start_post(self, sender: ReactionSender, elapsed: float) -> None:
        reactions = self._people.taps(elapsed, _unix_ms())
        if len(self._posts) >= _MAX_IN_FLIGHT:
            self._refused += len(reactions)
            return
        task = asyncio.get_running_loop().create_task(self._post(sender, reactions))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, sender: ReactionSender, reactions: list[model.Reaction]) -> None:
        posted_ms = self._now_ms()
        outcome = await sender.send(reactions)
        counts = dict(Counter(reaction.emoji_type for reaction in reactions))
        if isinstance(outcome, Accepted):
            self._account.accept(Post(outcome.record.partition, outcome.record.offset, posted_ms, counts))
        elif isinstance(outcome, Unknown):
            log.warning("outcome unknown", reason=outcome.reason, reactions=len(reactions))
            self._account.not_known(counts)
        else:
            self._refused += len(reactions)

    def _is_over(self) -> bool:
        is_late = self._plan.for_seconds is not None and self._elapsed() >= self._plan.for_seconds
        return is_late or self._silenced.is_set()

    # Viewers.

    async def _watch(self) -> None:
        """Start the viewers a few at a time, and keep them connected."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.viewers):
                viewer = Viewer(
                    self._client.registry_url,
                    f"{self._prefix}{number}",
                    on_message=self._see,
                    on_state=functools.partial(self._note, number),
                    protocol="ws" if number % _WEBSOCKET_SHARE == 0 else "sse",
                )
                self._viewers.append(viewer)
                group.create_task(viewer.run())
                await asyncio.sleep(1 / _VIEWERS_PER_SECOND)

    async def _take_seats(self) -> None:
        """Wait until all viewers are connected, up to a limit. An audience is there before a match begins."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEATS_SECONDS + self._plan.viewers / _VIEWERS_PER_SECOND):
                await _until(lambda: self._seated() == self._plan.viewers)

    def _seated(self) -> int:
        return sum(viewer.watcher.stream is not None for viewer in self._viewers)

    def _see(self, message: model.ViewerMessage) -> None:
        if isinstance(message, model.Swarm):
            self._account.latencies.seen(message.sequence, self._now_ms())

    def _note(self, viewer: int, state: ViewerState) -> None:
        self._moves.enter(viewer, state, time.monotonic())

    # The account.

    async def _settle(self) -> None:
        """Wait until all accepted reactions are counted and every viewer has seen them, up to a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_TIMEOUT_SECONDS):
                await _until(lambda: self._account.is_settled() and not self._swarms_unseen())

    def _swarms_unseen(self) -> int:
        """Return the number of swarms that a viewer has not seen yet, summed over all viewers."""
        return sum(max(0, self._account.sequence - viewer.watcher.sequence) for viewer in self._viewers)

    async def _report(self) -> None:
        before = 0
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            self._account.match()
            self._account.latencies.settle(self._now_ms())
            accepted = self._account.accepted.total()
            self._show(self._figures((accepted - before) / _REPORT_SECONDS))
            before = accepted

    def _figures(self, reactions_per_second: float) -> Figures:
        account, watchers = self._account, [viewer.watcher for viewer in self._viewers]
        return Figures(
            seconds=self._elapsed(),
            reactions_per_second=reactions_per_second,
            accepted=account.accepted.total(),
            counted=account.counted.total(),
            in_flight=account.in_flight,
            unknown=account.unknown.total(),
            refused=self._refused,
            viewers=self._seated(),
            swarms=account.swarms,
            delivered=sum(watcher.swarms for watcher in watchers),
            unseen=self._swarms_unseen(),
            missed=sum(watcher.lost + watcher.mismatches for watcher in watchers),
            repeated=sum(watcher.repeats for watcher in watchers),
            p50_ms=account.latencies.newest_percentile_ms(50),
            p99_ms=account.latencies.newest_percentile_ms(99),
        )

    def _final_figures(self, seconds: float, others: Counter[str]) -> Figures:
        account = self._account
        so_far = self._figures(account.accepted.total() / seconds)
        account.latencies.settle(sys.maxsize)
        return msgspec.structs.replace(
            so_far,
            seconds=seconds,
            others=others.total(),
            missed=so_far.missed + self._swarms_unseen(),
            p50_ms=account.latencies.percentile_ms(50),
            p99_ms=account.latencies.percentile_ms(99),
            lost=dict(account.lost(others)),
            doubled=dict(account.doubled(others)),
            moves=list(self._moves.made),
            is_final=True,
        )

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def _now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is told by messages, not by one event
        await asyncio.sleep(_TICK_SECONDS)


def _unix_ms() -> int:
    return int(time.time() * 1000)


def _show_on(display: Display) -> Callable[[Figures], None]:
    def show(newest: Figures) -> None:
        if newest.is_final:
            display.tell(f"\n{figures.summary(newest)}")
        else:
            display.live(figures.live_line(newest))

    return show
