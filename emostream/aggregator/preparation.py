"""Spark takes long to start, and longer to get warm: an aggregator begins with both before it is elected."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from pyspark.sql import SparkSession

from emostream.aggregator import session
from emostream.aggregator.rehearsal import rehearse
from emostream.config import AggregatorSettings, KafkaSettings, LogSettings
from emostream.runtime import logs

_LOOK_SECONDS = 0.25


class Preparation:
    """Begins when it is made, and is finished once this process is elected."""

    def __init__(
        self, settings: AggregatorSettings, kafka: KafkaSettings, log_settings: LogSettings, scratch: Path
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._log_settings = log_settings
        self._scratch = scratch
        self._is_elected = threading.Event()
        self._begun = in_background(self._begin)

    def check(self) -> None:
        """Raises EmoStreamError where Spark cannot be started, or has ended."""
        if self._begun.done():
            session.check_alive(self._begun.result())

    def finish(self, *, is_work_waiting: bool) -> SparkSession:
        """Spark with an executor, once this process is elected. Raises EmoStreamError where there is none.

        It is rehearsed with too, unless work is waiting: then viewers are.
        """
        self._is_elected.set()
        spark = self._begun.result()
        session.wait_for_executor(spark, self._settings)
        if not is_work_waiting:
            rehearse(spark, self._settings, self._kafka, self._scratch / "rehearsal")
        return spark

    def _begin(self) -> SparkSession:
        """Start Spark; and rehearse, should there be an executor for it before this process is elected."""
        spark = session.start(self._settings, logs_text=logs.writes_text(self._log_settings))
        while session.lacks_executor(spark, self._settings):
            if self._is_elected.wait(_LOOK_SECONDS):
                return spark
        if not self._is_elected.is_set():
            rehearse(spark, self._settings, self._kafka, self._scratch / "standing-by", until=self._is_elected)
        return spark


def in_background(work: Callable[[], SparkSession]) -> Future[SparkSession]:
    """Have it done in a thread that does not keep the process alive."""
    done: Future[SparkSession] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, name="ready-spark", daemon=True).start()
    return done
