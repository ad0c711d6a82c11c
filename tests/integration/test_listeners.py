"""Every tier binds the address of its settings, and answers operators whatever else it does. No server is needed."""

import http.client
import signal
import sys
import time
from pathlib import Path

import pytest

from emostream_lab.processes import servers
from emostream_lab.processes.process import Process

NOBODY = f"{servers.HOST}:1"
PUBLIC = ("ingest", "registry", "subscriber")
TIERS = (*PUBLIC, "aggregator", "publisher", "audit")


# Its event loop never comes back from the first look at what is due.
BUSY_SUBSCRIBER = """
import time
from emostream.cli import main
from emostream.subscriber.server import Server
async def sweep_forever(_):
    print("busy", flush=True)
    time.sleep(600)
Server.sweep_forever = sweep_forever
main(["subscriber"])
"""


def status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def environment(tier: str, **settings: object) -> dict[str, str]:
    """Settings of a tier that finds no server."""
    return {
        **{f"EMOSTREAM_{tier.upper()}_{name}": str(value) for name, value in settings.items()},
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": NOBODY,
        "EMOSTREAM_ZOOKEEPER_HOSTS": NOBODY,
    }


@pytest.mark.parametrize("admin_host", ["localhost", "::1"])
@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_listens_at_a_name_and_at_an_ipv6_address(tier: str, admin_host: str, tmp_path: Path) -> None:
    host = "::1" if admin_host == "localhost" else "localhost"
    port, admin_port = servers.free_port(), servers.free_port()
    settings = {"ADMIN_HOST": admin_host, "ADMIN_PORT": admin_port}
    if tier in PUBLIC:
        settings |= {"HOST": host, "PORT": port}
    process = Process(
        tier,
        [sys.executable, "-m", "emostream", tier],
        log_file=tmp_path / "log",
        environment=environment(tier, **settings),
        probe=lambda: status(admin_host, admin_port, "/metrics") == 200,
    )
    process.start()
    try:
        process.wait_ready(60)
        assert status(admin_host, admin_port, "/healthz") == 200
        if tier in PUBLIC:
            assert status(host, port, "/healthz") == 200
            assert status(host, port, "/readyz") == 503
            assert status(host, port, "/metrics") == 404
    finally:
        # One that looks for a server hears of it late.
        process.stop(timeout_seconds=1)


def test_a_subscriber_tells_its_metrics_while_its_event_loop_is_busy(tmp_path: Path) -> None:
    port, admin_port = servers.free_port(), servers.free_port()
    process = Process(
        "subscriber",
        [sys.executable, "-c", BUSY_SUBSCRIBER],
        log_file=tmp_path / "log",
        environment=environment("subscriber", PORT=port, ADMIN_PORT=admin_port),
        probe=lambda: "busy" in process.log_text() and status(servers.HOST, admin_port, "/metrics") == 200,
    )
    process.start()
    try:
        process.wait_ready(60)
        with pytest.raises(TimeoutError):
            status(servers.HOST, port, "/healthz")
    finally:
        process.send_signal(signal.SIGKILL)
        process.stop()


def test_a_connection_is_kept_for_longer_than_a_proxy_keeps_it(tmp_path: Path) -> None:
    port = servers.free_port()
    process = Process(
        "ingest",
        [sys.executable, "-m", "emostream", "ingest"],
        log_file=tmp_path / "log",
        environment=environment("ingest", PORT=port, ADMIN_PORT=servers.free_port()),
        probe=lambda: status(servers.HOST, port, "/healthz") == 200,
    )
    process.start()
    try:
        process.wait_ready(60)
        connection = http.client.HTTPConnection(servers.HOST, port, timeout=5)
        for silence_seconds in (0, 12):
            time.sleep(silence_seconds)
            connection.request("GET", "/healthz")
            assert connection.sock is not None
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"alive"}')
        connection.close()
    finally:
        process.stop(timeout_seconds=1)
