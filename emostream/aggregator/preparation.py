"""Starts and warms up Spark before the aggregator is elected, because both take long."""

import threading
from pathlib import Path

from pyspark.sql import SparkSession

from emostream.aggregator import session
from emostream.aggregator.warmup import warm_up
from emostream.config import AggregatorSettings, KafkaSettings, LogSettings
from emostream.runtime import logs
from emostream.runtime.background import in_background

_POLL_SECONDS = 0.25


class Preparation:
    """Starts Spark in the background when it is created. `finish` completes the work after the election."""

    def __init__(
        self, settings: AggregatorSettings, kafka: KafkaSettings, log_settings: LogSettings, scratch: Path
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._log_settings = log_settings
        self._scratch = scratch
        self._is_elected = threading.Event()
        self._begun = in_background("spark", self._begin)

    def check(self) -> None:
        """Check that Spark works so far. Raises EmoStreamError if Spark did not start, or has ended."""
        if self._begun.done():
            session.check_alive(self._begun.result())

    def is_complete(self) -> bool:
        """Return whether Spark is warm and has an executor, so that this process could count at once."""
        return self._begun.done() and not session.lacks_executor(self._begun.result(), self._settings)

    def finish(self, *, is_work_waiting: bool) -> SparkSession:
        """Return Spark with an executor; call it once this process is elected.

        It also warms Spark up, unless work is waiting, because viewers would wait for the warm-up. Raises
        EmoStreamError if there is no executor.
        """
        self._is_elected.set()
        spark = self._begun.result()
        session.wait_for_executor(spark, self._settings)
        if not is_work_waiting:
            warm_up(spark, self._settings, self._kafka, self._scratch / "warm-up")
        return spark

    def _begin(self) -> SparkSession:
        """Start Spark. Warm it up as well if an executor is there before this process is elected."""
        spark = session.start(self._settings, logs_text=logs.writes_text(self._log_settings))
        while session.lacks_executor(spark, self._settings):
            if self._is_elected.wait(_POLL_SECONDS):
                return spark
        if not self._is_elected.is_set():
            warm_up(spark, self._settings, self._kafka, self._scratch / "standing-by", until=self._is_elected)
        return spark
