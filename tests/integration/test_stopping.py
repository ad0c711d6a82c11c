"""A process that searches for servers which are not up ends as soon as it is told to."""

import signal
import sys
from pathlib import Path

import pytest

from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.integration import asking
from tests.integration.viewers import wait_until

PATIENCE_SECONDS = 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("tier", ["aggregator", "audit"])
def test_without_any_server_it_ends_when_it_is_told_to(tier: str, number: signal.Signals, tmp_path: Path) -> None:
    port, nobody = servers.free_port(), f"{servers.HOST}:{servers.free_port()}"
    process = Process(
        tier,
        [sys.executable, "-m", "emostream", tier],
        log_file=tmp_path / "log",
        environment={
            "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": nobody,
            "EMOSTREAM_ZOOKEEPER_HOSTS": nobody,
            f"EMOSTREAM_{tier.upper()}_ADMIN_PORT": str(port),
            "EMOSTREAM_AGGREGATOR_WORK_DIR": str(tmp_path / "work"),
        },
        probe=lambda: asking.get(port, "/readyz").status == 503,
    )
    process.start()
    try:
        process.wait_ready(PATIENCE_SECONDS)
        process.send_signal(number)
        wait_until(lambda: not process.is_running(), PATIENCE_SECONDS, process.log_tail)
    finally:
        process.stop()
    # It fails where it searches on: for 30 s, in vain.
    assert process.exit_status == 0, process.log_text()
    assert "emostream:" not in process.log_text()
