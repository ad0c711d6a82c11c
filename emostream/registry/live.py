"""What every process does now, for whoever looks at the whole: collected from their /readyz and /metrics.

Nothing is collected while nobody looks. However many do, each process is asked once a second at most.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from emostream.client.connection import fetch
from emostream.client.errors import NoAnswerError
from emostream.client.http1 import Response
from emostream.model import Count, Url
from emostream.runtime import tls

_FRESH_SECONDS = 1.0
_ANSWER_TIMEOUT_SECONDS = 1.0
_OK = 200
_MAX_CONNECTIONS = 32
# A swarm comes every other second, so a rate over a shorter time would jump between zero and one.
_RATE_OVER_SECONDS = 10.0

_COUNTED = {
    "ingest": "emostream_ingest_reactions_accepted_total",
    "aggregator": "emostream_aggregator_swarms_total",
    "publisher": "emostream_publisher_relayed_swarms_total",
    "subscriber": "emostream_subscriber_deliveries_total",
}
"""For each tier, the counter whose growth is its rate."""


class RegisteredProcess(msgspec.Struct, frozen=True):
    """A process as it is registered; `clients` and `capacity` are a subscriber's. `admin_url` is what is asked."""

    tier: str
    name: str
    url: Url
    admin_url: str
    cluster: str
    leader: bool
    clients: Count
    capacity: Count


class LiveProcess(RegisteredProcess, frozen=True):
    """A process as registered, and what it says of itself now. `metrics` has a sum for each name."""

    ready: bool
    reason: str
    metrics: dict[str, float]
    per_second: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            description="In the last ten seconds: reactions that an ingest accepted, swarms that an aggregator wrote "
            "or a publisher relayed, deliveries of a subscriber.",
        ),
    ]


StaleSince = Annotated[
    int | None,
    msgspec.Meta(
        description="Since when ZooKeeper is away, and this perhaps outdated, in ms since the epoch; else null."
    ),
]


class LiveTopology(msgspec.Struct, frozen=True):
    """The answer to GET /v1/topology/live."""

    stale_since: StaleSince
    processes: list[LiveProcess]


T = TypeVar("T")


class OnceASecond(Generic[T]):
    """What `make` makes, at most a second old, however many ask for it. To be used on one event loop."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._newest: asyncio.Task[T] | None = None
        self._made_at = float("-inf")

    async def get(self) -> T:
        now = asyncio.get_running_loop().time()
        if self._newest is None or (self._newest.done() and now - self._made_at >= _FRESH_SECONDS):
            self._newest = asyncio.create_task(self._make())
            self._made_at = now
        # Somebody else may wait for the same: whoever gives up must not end it.
        return await asyncio.shield(self._newest)


class Rate:
    """How fast a counter grows in the last ten seconds, over all its series. Pure.

    The sum of the series falls when a series goes, as that of an event does when the event closes. So the growth of
    each series is added up. A series that fell is that of a process that started again at zero.
    """

    def __init__(self) -> None:
        self._series: Mapping[str, float] | None = None
        self._growth = 0.0
        # The growth since the first look, at each look of the last ten seconds.
        self._looks: deque[tuple[float, float]] = deque()

    def take(self, now_seconds: float, series: Mapping[str, float]) -> None:
        """Take the series as they are now."""
        if (before := self._series) is not None:
            for name, value in series.items():
                known = before.get(name, 0.0)
                self._growth += value - known if value >= known else value
        self._series = series
        self._looks.append((now_seconds, self._growth))

    def per_second(self, now_seconds: float) -> float:
        """Return the rate; zero until there are two looks."""
        while self._looks and now_seconds - self._looks[0][0] > _RATE_OVER_SECONDS:
            self._looks.popleft()
        if len(self._looks) <= 1:
            return 0.0
        (began, first), (ended, last) = self._looks[0], self._looks[-1]
        return (last - first) / (ended - began)


class Collector:
    """Looks at all the processes that `registered` names at that moment. To be used on one event loop."""

    def __init__(self, registered: Callable[[], Sequence[RegisteredProcess]]) -> None:
        self._registered = registered
        self._newest = OnceASecond(self._collect)
        # One for each process that was registered at the last look.
        self._rates: dict[tuple[str, str], Rate] = {}

    async def look(self) -> list[LiveProcess]:
        return await self._newest.get()

    async def _collect(self) -> list[LiveProcess]:
        processes = self._registered()
        self._rates = {key: self._rates.get(key) or Rate() for key in map(_key, processes)}
        return await of_each(processes, self._look_at)

    async def _look_at(self, process: RegisteredProcess) -> LiveProcess:
        is_ready, reason, series = await _state_of(process)
        now, rate = asyncio.get_running_loop().time(), self._rates[_key(process)]
        if series is not None:
            rate.take(now, _of_name(series, _COUNTED.get(process.tier, "")))
        metrics = figures(series or {})
        return LiveProcess(
            **msgspec.structs.asdict(process),
            ready=is_ready,
            reason=reason,
            metrics=metrics,
            per_second=rate.per_second(now),
        )


def _key(process: RegisteredProcess) -> tuple[str, str]:
    return process.tier, process.name


async def of_each(
    processes: Iterable[RegisteredProcess], look_at: Callable[[RegisteredProcess], Coroutine[Any, Any, T]]
) -> list[T]:
    """Return what `look_at` finds at each process. At most `_MAX_CONNECTIONS` are asked at the same time."""
    turns = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def in_turn(process: RegisteredProcess) -> T:
        async with turns:
            return await look_at(process)

    return await asyncio.gather(*map(in_turn, processes))


async def ask(process: RegisteredProcess, path: str) -> Response:
    """Ask an admin listener. Raises NoAnswerError if it does not answer in time, ValueError if its URL is none."""
    return await fetch(f"{process.admin_url}{path}", _ANSWER_TIMEOUT_SECONDS, tls.client_context())


async def _state_of(process: RegisteredProcess) -> tuple[bool, str, dict[str, float] | None]:
    """Return whether a process is ready, the reason if not, and its series, or None if they cannot be read."""
    try:
        readyz = await ask(process, "/readyz")
        metrics = await ask(process, "/metrics")
    except (NoAnswerError, ValueError):
        return False, "it does not answer", None
    is_ready = readyz.status == _OK
    reason = "" if is_ready else readyz.reason
    try:
        return is_ready, reason, series_of(metrics.body.decode())
    except ValueError:
        return is_ready, reason or "its /metrics cannot be read", None


def series_of(exposition: str) -> dict[str, float]:
    """Our series in Prometheus' text format; of a histogram its count and sum alone."""
    found = {}
    for line in exposition.splitlines():
        series, _, value = line.rpartition(" ")
        if series.startswith("emostream_") and not _name_of(series).endswith("_bucket"):
            found[series] = float(value)
    return found


def figures(series: Mapping[str, float]) -> dict[str, float]:
    """Each metric, summed over its labels."""
    sums: defaultdict[str, float] = defaultdict(float)
    for each, value in series.items():
        sums[_name_of(each)] += value
    return dict(sums)


def _of_name(series: Mapping[str, float], name: str) -> dict[str, float]:
    return {each: value for each, value in series.items() if _name_of(each) == name}


def _name_of(series: str) -> str:
    return series.partition("{")[0]
