"""Every tier binds the address of its settings: a name or an IPv6 address. No server is needed for that."""

import http.client
import sys
from pathlib import Path

import pytest

from emostream_lab.processes import servers
from emostream_lab.processes.process import Process

NOBODY = f"{servers.HOST}:1"
PUBLIC = ("ingest", "registry", "subscriber")
TIERS = (*PUBLIC, "aggregator", "publisher", "audit")


def status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("admin_host", ["localhost", "::1"])
@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_listens_at_a_name_and_at_an_ipv6_address(tier: str, admin_host: str, tmp_path: Path) -> None:
    host = "::1" if admin_host == "localhost" else "localhost"
    port, admin_port = servers.free_port(), servers.free_port()
    settings = {"ADMIN_HOST": admin_host, "ADMIN_PORT": admin_port}
    if tier in PUBLIC:
        settings |= {"HOST": host, "PORT": port}
    environment = {
        **{f"EMOSTREAM_{tier.upper()}_{name}": str(value) for name, value in settings.items()},
        "EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS": NOBODY,
        "EMOSTREAM_ZOOKEEPER_HOSTS": NOBODY,
    }
    process = Process(
        tier,
        [sys.executable, "-m", "emostream", tier],
        log_file=tmp_path / "log",
        environment=environment,
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
        process.stop()
