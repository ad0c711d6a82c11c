"""Opens and closes events during the faults, each in a thread of its own."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.operate.events import operator
from emostream_lab.audience import events
from emostream_lab.chaos.plan import Step
from emostream_lab.chaos.timeline import Timeline

# Long enough for the recovery from one fault. After it the command is run again.
_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 1.0

# The faults cut its connections. Without a handler, Python would print that among the notes of the timeline.
logging.getLogger("kazoo").addHandler(logging.NullHandler())


def change(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, step: Step) -> None:
    """Open or close the event. Raises EmoStreamError if that is not done in time; it may be done again."""
    with operator(zookeeper, kafka, _TIMEOUT_SECONDS) as one:
        if step.verb == "open":
            one.bring_about([events.wanted(step.event)])
        else:
            one.close(step.event)


class Steps:
    """Does each step of a plan once it is due, and again until it succeeds.

    Steps of different events go on at the same time. An event is closed after it was opened.
    """

    def __init__(self, steps: Sequence[Step], do: Callable[[Step], None], timeline: Timeline) -> None:
        self._waiting = list(steps)
        self._do = do
        self._timeline = timeline
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(max(1, len(steps)), "events")
        self._begun: dict[Step, Future[None]] = {}
        self._unfinished: dict[Step, str] = {}

    def step(self, is_due: Callable[[Step], bool]) -> None:
        """Begin the steps that are due. Raises the error that ended one."""
        while self._waiting and is_due(self._waiting[0]):
            step = self._waiting.pop(0)
            self._unfinished[step] = f"{step.event} is not open"
            before = [future for other, future in self._begun.items() if other.event == step.event]
            self._begun[step] = self._threads.submit(self._until_done, step, before)
        for future in self._begun.values():
            if future.done():
                future.result()

    def cut_short(self) -> None:
        """Drop the steps that have not begun."""
        self._waiting.clear()

    def is_over(self) -> bool:
        """Return whether all steps are done."""
        return not self._waiting and not self._unfinished

    def problems(self) -> list[str]:
        """Return a sentence for each step that began and is not done."""
        return [f"not done: {step}: {reason}" for step, reason in list(self._unfinished.items())]

    def stop(self) -> None:
        """Give up the steps that are not done."""
        self._over.set()
        self._threads.shutdown()

    def _until_done(self, step: Step, before: Sequence[Future[None]]) -> None:
        wait(before)
        self._timeline.note(f"{step.verb} {step.event}")
        while not self._over.is_set():
            try:
                self._do(step)
            except (EmoStreamError, KazooException, KazooTimeoutError) as error:
                self._unfinished[step] = str(error)
                self._over.wait(_RETRY_SECONDS)
            else:
                del self._unfinished[step]
                self._timeline.note(f"done: {step.verb} {step.event}")
                return
