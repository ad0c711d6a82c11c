"""What every process does now, for whoever looks at the whole: collected from their /readyz and /metrics.

Nothing is collected while nobody looks. However many do, each process is asked once a second at most.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from emostream.client.connection import fetch
from emostream.client.errors import NoAnswerError
from emostream.client.http1 import Response
from emostream.model import Count, Url

_FRESH_SECONDS = 1.0
_ANSWER_TIMEOUT_SECONDS = 1.0
_OK = 200
_MAX_CONNECTIONS = 32


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


class Collector:
    """Looks at all the processes that `registered` names at that moment. To be used on one event loop."""

    def __init__(self, registered: Callable[[], Sequence[RegisteredProcess]]) -> None:
        self._registered = registered
        self._newest = OnceASecond(self._collect)

    async def look(self) -> list[LiveProcess]:
        return await self._newest.get()

    async def _collect(self) -> list[LiveProcess]:
        return await of_each(self._registered(), _look_at)


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
    return await fetch(f"{process.admin_url}{path}", _ANSWER_TIMEOUT_SECONDS)


async def _look_at(process: RegisteredProcess) -> LiveProcess:
    known = msgspec.structs.asdict(process)
    try:
        readyz = await ask(process, "/readyz")
        metrics = await ask(process, "/metrics")
    except (NoAnswerError, ValueError):
        return LiveProcess(**known, ready=False, reason="it does not answer", metrics={})
    is_ready = readyz.status == _OK
    reason = "" if is_ready else readyz.reason
    try:
        return LiveProcess(**known, ready=is_ready, reason=reason, metrics=figures(metrics.body.decode()))
    except ValueError:
        return LiveProcess(**known, ready=is_ready, reason=reason or "its /metrics cannot be read", metrics={})


def figures(exposition: str) -> dict[str, float]:
    """Our metrics in Prometheus' text format, each summed over its labels; of a histogram its count and sum alone."""
    sums: defaultdict[str, float] = defaultdict(float)
    for line in exposition.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if name.startswith("emostream_") and not name.endswith(("_bucket", "_created")):
            sums[name] += float(value)
    return dict(sums)
