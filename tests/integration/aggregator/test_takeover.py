"""Every reaction is counted once, whatever is done to the aggregator."""

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from emostream import model
from emostream.aggregator.driver import EXIT_OUTCOME_UNKNOWN
from emostream.errors import OutcomeUnknownError
from emostream.swarms.log import SwarmLog
from emostream.swarms.rules import stream_of
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import with_all_faults
from tests.integration.aggregator.conftest import TIMEOUT_SECONDS, Aggregator, Log, Start, is_alive
from tests.integration.asking import metric
from tests.integration.viewers import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]


@pytest.mark.faults
def test_it_is_killed_at_any_moment_and_every_reaction_is_counted_once(log: Log, start: Start) -> None:
    for life in range(3):
        aggregator = start()
        for _ in range(200):
            log.send(*random.choices("🔥👏😂", k=10))
        aggregator.wait_until_it_leads()
        end = time.monotonic() + random.uniform(0, 4)
        while time.monotonic() < end:
            log.send(*random.choices("🔥👏😂", k=10))
            time.sleep(0.01)
        aggregator.kill()
        if life == 1:
            shutil.rmtree(aggregator.work_dir)
    start()
    log.check()


# Each `make test` has the next test, and the one of a warm stand-by.
@pytest.mark.faults
@with_all_faults
def test_a_leader_that_was_frozen_cannot_write_once_another_leads(log: Log, start: Start) -> None:
    frozen = start()
    log.send("🔥")
    log.check()
    successor = start()
    successor.process.wait_ready(TIMEOUT_SECONDS)
    assert metric(successor.port, "emostream_aggregator_leader") == 0
    frozen.process.send_signal(signal.SIGSTOP)
    log.send("👏", "👏")
    successor.wait_until_it_leads()
    log.check()
    frozen.process.send_signal(signal.SIGCONT)
    log.send("😂")
    assert frozen.end() in {1, EXIT_OUTCOME_UNKNOWN}
    log.check()
    assert successor.leads()


def test_a_writer_of_swarms_cannot_write_once_another_has_begun(log: Log) -> None:
    earlier = SwarmLog(log.settings, transaction_timeout_ms=10_000)
    [first] = log.swarms()
    second = msgspec.structs.replace(first, id=model.message_id(stream_of(first), 1), sequence=1)
    with SwarmLog(log.settings, transaction_timeout_ms=10_000) as later:
        with pytest.raises(OutcomeUnknownError):
            earlier.append(second)
        assert log.swarms() == [first]
        later.append(second)
    assert log.swarms() == [first, second]
    earlier.close()


def test_a_warm_standby_takes_over_on_a_standalone_master_and_nothing_is_left_behind(
    log: Log, start: Start, tmp_path: Path
) -> None:
    with _standalone_spark(tmp_path / "spark") as (url, _, worker):
        first = start(spark_master=url)
        log.send(*"🔥🔥👏")
        log.check()
        executors = psutil.Process(worker.pid).children(recursive=True)
        assert executors
        standby = start(spark_master=url)
        # Each aggregator has a core, and so its own executor.
        wait_until(lambda: _has_warmed_up(standby), TIMEOUT_SECONDS, standby.process.log_tail)
        standby.process.wait_ready(TIMEOUT_SECONDS)
        assert not standby.leads()
        family = standby.family()
        first.kill()
        log.send(*"😂🔥")
        log.check()
        assert standby.leads()
        assert standby.family() == family
        wait_until(lambda: not any(is_alive(executor) for executor in executors), 60, lambda: executors)


@pytest.mark.faults
@with_all_faults
def test_a_leader_that_loses_its_executor_lets_one_lead_that_has_one(log: Log, start: Start, tmp_path: Path) -> None:
    with _standalone_spark(tmp_path / "spark") as (url, _, worker):
        first = start(spark_master=url)
        log.send(*"🔥🔥👏")
        log.check()
        executors = psutil.Process(worker.pid).children(recursive=True)
        standby = start(spark_master=url)
        wait_until(lambda: _has_warmed_up(standby), TIMEOUT_SECONDS, standby.process.log_tail)
        # It starts no other executor, as if it had no room.
        worker.send_signal(signal.SIGSTOP)
        for executor in executors:
            executor.kill()
        log.send(*"😂🔥")
        log.check()
        assert standby.leads()
        assert first.end() == 1
        worker.send_signal(signal.SIGCONT)


@pytest.mark.faults
@with_all_faults
def test_an_aggregator_counts_after_everything_was_killed_at_once(log: Log, start: Start, tmp_path: Path) -> None:
    with _standalone_spark(tmp_path / "spark") as (url, master, worker):
        # The second port is for the second start.
        driver_port, _ = servers.free_port(), servers.free_port()
        aggregator = start(spark_master=url, driver_port=driver_port)
        log.send(*"🔥🔥👏")
        log.check()
        for process in (master, worker):
            process.send_signal(signal.SIGKILL)
        aggregator.kill()
        # The master restores the killed aggregator from its records, and waits for it at its address.
        for process in (master, worker, aggregator.process):
            process.wait(60)
            process.start()
        log.send(*"😂🔥")
        aggregator.wait_until_it_leads()
        log.check()
        assert "re-register application" not in master.log_text()


@contextlib.contextmanager
def _standalone_spark(folder: Path) -> Iterator[tuple[str, Process, Process]]:
    """A master, with its URL, and a worker with room for two aggregators."""
    port = servers.free_port()
    master = servers.spark_master(folder, port)
    worker = servers.spark_worker(folder, port, cores=2, memory_mib=2_048)
    try:
        for process in (master, worker):
            process.start()
            process.wait_ready(120)
        yield f"spark://{servers.HOST}:{port}", master, worker
    finally:
        worker.stop()
        master.stop()


def test_a_leader_that_searches_for_kafka_ends_when_it_is_told_to(start: Start) -> None:
    aggregator = start(kafka=f"{servers.HOST}:{servers.free_port()}")
    wait_until(lambda: _is_elected(aggregator), TIMEOUT_SECONDS, aggregator.process.log_tail)
    aggregator.process.terminate()
    # It fails where it searches on: for 30 s, in vain.
    assert aggregator.end() == 0, aggregator.process.log_text()


def _is_elected(aggregator: Aggregator) -> bool:
    with contextlib.suppress(OSError):
        return metric(aggregator.port, "emostream_aggregator_leader") == 1
    return False


def _has_warmed_up(aggregator: Aggregator) -> bool:
    return "aggregator has warmed up" in aggregator.process.log_text()
