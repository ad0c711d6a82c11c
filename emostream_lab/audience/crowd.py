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
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import uvloop

from emostream import config, model
from emostream.audit.ledger import offsets_of
from emostream.client.errors import NoEventError
from emostream.client.outcome import Refused, Unknown
from emostream.client.reactions import ReactionSender
from emostream.client.viewer import Viewer, ViewerState
from emostream.model import MAIN, Counts
from emostream.runtime import logs
from emostream.tokens.own import OwnTokens
from emostream_lab.account import figures
from emostream_lab.account.account import Account, RunAccount
from emostream_lab.account.end_to_end import EndToEndLatencies
from emostream_lab.account.figures import Figures
from emostream_lab.account.histogram import percentile_ms
from emostream_lab.account.ledger import SwarmFollower, count_others
from emostream_lab.account.moves import Moves
from emostream_lab.account.tally import LogTally, Spectator, Tally, sequence_in
from emostream_lab.audience.open_events import OpenEvents
from emostream_lab.audience.pace import People
from emostream_lab.audience.shapes import Audience
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
# The reactions of a swarm are timed when all viewers have it, or after this long.
_ARRIVAL_SECONDS = 60.0
# The viewers of an event that does not exist yet ask for it again after this time.
_NO_EVENT_SECONDS = 1.0
# How long it may take, after the last reaction, until all accepted reactions are counted and seen by every viewer.
_SETTLE_TIMEOUT_SECONDS = 180


def run(audience: Audience, events: Sequence[str] = (MAIN,), figures_file: str | None = None) -> int:
    """Run the audience; returns 0 if every accepted reaction was counted and seen exactly once, else 1.

    It stays for `audience.seconds`, which may be infinite, and is spread over the events. It does not open them. An
    event that is not open yet gets its share of the viewers when it is, and of the reactions until it ends. SIGINT
    ends the audience with an account. SIGTERM ends it at once. The figures go to `figures_file`, or to the terminal if
    that is None. Raises EmoStreamError if Kafka does not answer or `swarms` is empty.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    show = functools.partial(figures.write, Path(figures_file)) if figures_file else _show_on(Display())
    try:
        status: int = uvloop.run(_Crowd(audience, events, show).attend())
    except asyncio.CancelledError:
        return 0
    return status


class _Group:
    """The part of the crowd that attends one event: so many viewers, and those who react to it."""

    def __init__(self, event: str, viewers: int) -> None:
        self.event = event
        self.viewers = viewers
        self.tally = Tally()
        self.latencies: Counter[int] = Counter()
        self.newest_latencies: Counter[int] = Counter()
        # The swarms whose reactions are not timed yet: sequence number, offsets covered, and when they were counted.
        self._untimed: deque[tuple[int, dict[int, int], float]] = deque()

    @property
    def is_seated(self) -> bool:
        return sum(each.watcher.stream is not None for each in self.tally.spectators) == self.viewers

    def count(self, swarm: model.Swarm, now_seconds: float) -> None:
        """Take the next record of `swarms`."""
        ends = offsets_of(swarm)
        self.tally.end_to_end.counted(ends)
        sequence = sequence_in(swarm, self.event)
        if sequence is not None:
            self._untimed.append((sequence, ends, now_seconds))

    def begin(self) -> None:
        """Forget what came so far: it is not timed."""
        self.tally.end_to_end = EndToEndLatencies()
        self._untimed.clear()

    def time_swarms(self, now_seconds: float, patience_seconds: float = _ARRIVAL_SECONDS) -> None:
        """Time the reactions of each swarm that every viewer has, or that was counted some time ago."""
        while self._untimed:
            sequence, ends, counted_at = self._untimed[0]
            # A viewer that has no seat yet is not waited for.
            is_awaited = any(
                each.is_awaited and 0 <= each.watcher.sequence < sequence for each in self.tally.spectators
            )
            if is_awaited and now_seconds < counted_at + patience_seconds:
                return
            self._untimed.popleft()
            newest: Counter[int] = Counter()
            for each in self.tally.end_to_end.covered(sequence, ends, random.choice):
                newest[int(each.latency_ms)] += each.reactions
            self.latencies.update(newest)
            self.newest_latencies = newest or self.newest_latencies


class _Crowd:
    def __init__(self, audience: Audience, events: Sequence[str], show: Callable[[Figures], None]) -> None:
        self._audience = audience
        self._show = show
        self._client = config.load(config.ClientSettings)
        self._kafka = config.load(config.KafkaSettings)
        self._prefix = f"crowd-{secrets.token_hex(3)}-"
        self._tokens = OwnTokens.load()
        self._people = People(self._prefix, random.choice)
        # The audience is dealt out evenly.
        self._groups = [
            _Group(event, len(range(number, audience.viewers, len(events)))) for number, event in enumerate(events)
        ]
        self._group_of = {group.event: group for group in self._groups}
        self._events = OpenEvents(events)
        self._moves = Moves()
        self._posts: set[asyncio.Task[None]] = set()
        self._silenced = asyncio.Event()

    async def attend(self) -> int:
        loop = asyncio.get_running_loop()
        self._end_on(signal.SIGTERM, signal.SIGINT)
        follower = SwarmFollower(self._kafka)
        self._log = LogTally(follower.last, list(self._group_of))
        self._events.follow(self._log.is_open)
        with follower.following(loop, self._count):
            async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as senders:
                self._senders = {
                    each.event: await senders.enter_async_context(self._sender(each.event)) for each in self._groups
                }
                meanwhile = [group.create_task(self._watch())]
                await self._take_seats()
                if self._audience.reactions_per_second:
                    await self._greet()
                self._started = loop.time()
                loop.add_signal_handler(signal.SIGINT, self._silenced.set)
                meanwhile.append(group.create_task(self._report()))
                await self._tap()
                seconds = self._elapsed()
                await self._settle()
                for task in meanwhile:
                    task.cancel()
        others = count_others(self._kafka, *self._log.progress, self._prefix)
        final = self._final_figures(seconds, others)
        self._show(final)
        return 0 if final.is_exact else 1

    def _end_on(self, *numbers: signal.Signals) -> None:
        task = asyncio.current_task()
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())

    # Reactions.

    def _sender(self, event: str) -> ReactionSender:
        connections = max(1, _CONNECTIONS // len(self._groups))
        token = self._tokens.source(f"{self._prefix}relay", "relay")
        return ReactionSender(self._client.ingest_url, connections, event=event, token=token)

    async def _greet(self) -> None:
        """Send one reaction and wait until it is counted. The first batch of Spark is slow, so it is not measured."""
        first = self._groups[0]
        while not first.tally.accepted:
            await self._post(first, self._people.taps(0, _unix_ms()))
            await asyncio.sleep(_TICK_SECONDS)
        await _until(lambda: not first.tally.end_to_end.waiting)
        for group in self._groups:
            group.begin()

    async def _tap(self) -> None:
        """Send reactions at a constant rate until the time is over, and wait for the last answers.

        The rate does not depend on how long the answers take.
        """
        due = 0
        while not self._is_over():
            elapsed = self._elapsed()
            for _ in range(due, due := int(elapsed * self._audience.reactions_per_second)):
                self._start_post(elapsed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._silenced.wait(), _TICK_SECONDS)
        if self._posts:
            await asyncio.wait(self._posts)

    def _start_post(self, elapsed: float) -> None:
        group = self._group_of[random.choice(self._events.open)]  # noqa: S311 (no secret)
        reactions = self._people.taps(elapsed, _unix_ms())
        if len(self._posts) >= _MAX_IN_FLIGHT:
            group.tally.sent(reactions, Refused("too many requests are open"), self._now())
            return
        task = asyncio.get_running_loop().create_task(self._post(group, reactions))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, group: _Group, reactions: list[model.Reaction]) -> None:
        posted_at = self._now()
        outcome = await self._senders[group.event].send(reactions)
        if isinstance(outcome, Unknown):
            log.warning("outcome unknown", reason=outcome.reason, reactions=len(reactions))
        if isinstance(outcome, Refused):
            self._events.refused(group.event)
        group.tally.sent(reactions, outcome, posted_at)

    def _is_over(self) -> bool:
        return self._elapsed() >= self._audience.seconds or self._silenced.is_set()

    # Viewers.

    async def _watch(self) -> None:
        """Start the viewers a few at a time, and keep them connected."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._audience.viewers):
                group = self._groups[number % len(self._groups)]
                user_id = f"{self._prefix}{number}"
                viewer = Viewer(
                    self._client.registry_url,
                    user_id,
                    event=group.event,
                    on_message=functools.partial(self._see, group),
                    on_state=functools.partial(self._note, number),
                    protocol="ws" if number // len(self._groups) % _WEBSOCKET_SHARE == 0 else "sse",
                    token=self._tokens.source(user_id, "watch", "relay"),
                )
                group.tally.spectators.append(Spectator(viewer.watcher))
                tasks.create_task(_watch_once_open(viewer))
                await asyncio.sleep(1 / _VIEWERS_PER_SECOND)

    async def _take_seats(self) -> None:
        """Wait until all viewers of open events are connected, up to a limit: they are there before a match begins."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEATS_SECONDS + self._audience.viewers / _VIEWERS_PER_SECOND):
                await _until(lambda: all(self._group_of[event].is_seated for event in self._events.open))

    def _see(self, group: _Group, message: model.ViewerMessage) -> None:
        if isinstance(message, model.Swarm):
            group.tally.seen(message, self._now())

    def _note(self, viewer: int, state: ViewerState) -> None:
        self._moves.enter(viewer, state, time.monotonic())

    # The account.

    def _count(self, swarm: model.Swarm) -> None:
        self._log.take(swarm)
        self._events.follow(self._log.is_open)
        for group in self._groups:
            group.count(swarm, self._now())

    def _time_swarms(self, patience_seconds: float = _ARRIVAL_SECONDS) -> None:
        for group in self._groups:
            group.time_swarms(self._now(), patience_seconds)

    async def _settle(self) -> None:
        """Wait until all accepted reactions are counted and every viewer has seen them, up to a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_TIMEOUT_SECONDS):
                for group in self._groups:
                    await _until(functools.partial(self._is_settled, group))

    def _is_settled(self, group: _Group) -> bool:
        return not group.tally.end_to_end.waiting and not group.tally.behind(self._log.sequence(group.event))

    async def _report(self) -> None:
        before = 0
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            self._time_swarms()
            account = self._account().total
            accepted = sum(account.accepted.values())
            latencies = _sum(group.newest_latencies for group in self._groups)
            rate = (accepted - before) / _REPORT_SECONDS
            self._show(self._figures(self._groups, account, latencies, self._elapsed(), rate))
            before = accepted

    def _account(self, others: Mapping[str, Counts] | None = None) -> RunAccount:
        seen = RunAccount({group.event: group.tally.account(self._log.sequence(group.event)) for group in self._groups})
        return seen + self._log.account(others or {})

    def _figures(
        self, groups: Sequence[_Group], account: Account, latencies: Counter[int], seconds: float, rate: float
    ) -> Figures:
        return Figures(
            seconds=seconds,
            reactions_per_second=rate,
            accepted=sum(account.accepted.values()),
            counted=sum(account.by_totals.values()),
            in_flight=account.in_flight,
            others=sum(account.others.values()),
            unknown=sum(account.unknown.values()),
            refused=sum(account.refused.values()),
            viewers=account.viewers,
            swarms=sum(self._log.swarms(group.event) for group in groups),
            delivered=account.delivered,
            unseen=sum(group.tally.unseen(self._log.sequence(group.event)) for group in groups),
            missed=account.skipped + account.unequal,
            repeated=account.repeats,
            p50_ms=percentile_ms(latencies, 0.5),
            p99_ms=percentile_ms(latencies, 0.99),
        )

    def _final_figures(self, seconds: float, others: Mapping[str, Counts]) -> Figures:
        self._time_swarms(patience_seconds=0)
        run = self._account(others)
        events = {
            group.event: self._final([group], RunAccount({group.event: run.events[group.event]}), seconds)
            for group in self._groups
        }
        final = self._final(self._groups, run, seconds)
        return msgspec.structs.replace(
            final, moves=list(self._moves.made), events=events if len(events) > 1 else {}, is_final=True
        )

    def _final(self, groups: Sequence[_Group], account: RunAccount, seconds: float) -> Figures:
        """Return the final figures of these events."""
        latencies = _sum(group.latencies for group in groups)
        accepted = sum(account.total.accepted.values())
        figures = self._figures(groups, account.total, latencies, seconds, accepted / seconds)
        return msgspec.structs.replace(
            figures,
            missed=figures.missed + figures.unseen,
            lost=dict(account.lost),
            doubled=dict(account.doubled),
            problems=account.problems(under_faults=True),
        )

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _watch_once_open(viewer: Viewer) -> None:
    """Watch an event to its end, from when it is open."""
    while True:
        try:
            await viewer.run()
        except NoEventError:
            await asyncio.sleep(_NO_EVENT_SECONDS)
        else:
            return


def _sum(counters: Iterable[Counter[int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for each in counters:
        found.update(each)
    return found


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
