"""The aggregator's work for the events, in a thread of its own: it opens, ends and takes them out, and tells so."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from emostream.errors import EmoStreamError
from emostream.events import store
from emostream.events.steps import LeaderSteps
from emostream.events.store import Follower
from emostream.model import Swarm
from emostream.runtime import logs
from emostream.runtime.coordination import registrations
from emostream.swarms.rules import Changes, progress_of

log = logs.get(__name__)

_POLL_SECONDS = 0.25
_INGESTS = "/services/ingest"


class EventKeeper:
    """Brings the records and the table of events together, during one term as leader."""

    def __init__(
        self,
        client: KazooClient,
        follower: Follower,
        last: Callable[[], Swarm],
        write: Callable[[Changes], bool],
        ends: Callable[[], Mapping[int, int]],
    ) -> None:
        """`last` returns the last record. `write` writes the next one, with these changes, and returns whether it did.

        `ends` returns the ends of `reactions` by partition.
        """
        self._client = client
        self._follower = follower
        self._last = last
        self._write = write
        self._ends = ends
        self._steps = LeaderSteps()

    def run(self, stop: threading.Event) -> None:
        """Work until stopped. While ZooKeeper or Kafka does not answer, it tries again."""
        while not stop.wait(_POLL_SECONDS):
            try:
                self.step()
            except (KazooException, KazooTimeoutError, EmoStreamError) as error:
                log.warning("the events wait", error=repr(error))

    def step(self) -> None:
        """Do what is due. Raises KazooException or EmoStreamError if ZooKeeper or Kafka does not answer."""
        if self._follower.seen is None:
            return
        view, last, now_ms = self._follower.seen.view, self._last(), time.time_ns() // 1_000_000
        if unconfirmed := self._steps.unconfirmed(view, last.parts):
            confirmed = self._steps.confirm(unconfirmed, self._confirmations())
            if confirmed:
                self._steps.take_ends(confirmed, self._ends())
        changes = self._steps.changes(view, last.parts, progress_of(last).offsets, now_ms)
        if changes is not None:
            if not self._write(changes):
                return
            self._steps.wrote(view)
            log.info("events", opened=list(changes.opened), ended=list(changes.ended), archived=list(changes.archived))
        table = self._steps.table_to_tell(view, self._last().parts, now_ms)
        if table is not None:
            store.replace(self._client, view.version, table)

    def _confirmations(self) -> Iterator[Mapping[str, str]]:
        """What each registered ingest has confirmed; nothing if its registration cannot be read."""
        self._client.sync(_INGESTS)
        for _, registration in registrations(self._client, _INGESTS):
            closed = registration.get("closed")
            yield closed if isinstance(closed, dict) else {}
