"""Viewers from outside: the page, and a stream that survives the loss of its subscriber."""

import asyncio
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from emostream import model
from emostream.client.connection import server_context
from emostream.client.viewer import Live, Viewer
from tests.deployment import control
from tests.deployment.audience import live_subscribers, watching
from tests.deployment.hosts import EDGES, GATEWAY_URL, MACHINES, Hosts
from tests.integration.viewers import wait_until

pytestmark = pytest.mark.usefixtures("system")

SUBSCRIBERS = [f"cluster{number}/{edge}-{instance}" for number, edge in enumerate(EDGES, 1) for instance in (1, 2, 3)]

LOCUST_URL = f"http://{MACHINES['loadgen1']['ansible_host']}:8089"
REPORTS = control.REPOSITORY / "build" / "load"


def _get(path: str) -> str:
    with _open(f"{GATEWAY_URL}{path}") as answer:
        return answer.read().decode()


def _open(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=30, context=server_context())  # noqa: S310 - of our own hosts


def _connection() -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(MACHINES["gateway1"]["ansible_host"], timeout=30, context=server_context())


def _post(path: str, body: object, token: str = "") -> tuple[int, Any]:
    connection = _connection()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_the_gateway_serves_the_page_the_topology_and_the_palette() -> None:
    assert "<title>EmoStream" in _get("/")
    assert "🔥" in _get("/v1/palette")
    assert live_subscribers() == SUBSCRIBERS


@pytest.mark.quick
def test_the_page_comes_by_https_and_http2_and_a_viewer_watches_by_wss() -> None:
    def answered(url: str) -> list[str]:
        ca_file = control.REPOSITORY / "build/secrets/vagrant/certificates/ca.pem"
        told = "%{http_code} %{http_version} %{redirect_url}"
        command = ["curl", "--silent", "--cacert", ca_file, "--output", "/dev/null", "--write-out", told, url]
        return control.succeed(command, seconds=60).split()

    gateway, edge = (f"{MACHINES[name]['ansible_host']}" for name in ("gateway1", "edge1"))
    assert answered(f"{GATEWAY_URL}/") == ["200", "2"]
    assert answered(f"http://{gateway}/") == ["308", "1.1", f"{GATEWAY_URL}/"]
    assert answered(f"https://{edge}/subscribers/1/healthz") == ["200", "2"]
    assert answered(f"https://{edge}/subscribers/9/healthz") == ["404", "2"]
    assigned = _post("/v1/assignments", {"user_id": "x"})[1]
    assert re.fullmatch(r"wss://192\.168\.60\.2[123]/subscribers/[123]/v1/ws", assigned["ws_url"])

    async def scenario() -> None:
        messages = list[model.ViewerMessage]()
        token = control.tokens("vagrant").source("wss", "watch")
        viewer = Viewer(GATEWAY_URL, "wss", protocol="ws", token=token, on_message=messages.append)
        running = asyncio.create_task(viewer.run())
        async with asyncio.timeout(60):
            while not messages:  # noqa: ASYNC110 - a viewer has no event to wait for
                await asyncio.sleep(0.05)
        assert isinstance(viewer.state, Live)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "target",
    [
        *("/metrics", "//metrics", "/%6Detrics", "/metrics/", "/METRICS", "/v1/../metrics", "/static/../metrics"),
        *("/static//metrics", "/static/%2e%2e/metrics", "/v1/topology/../../metrics", f"{GATEWAY_URL}/metrics"),
        *("/readyz", "//readyz", "/%72eadyz", "/./readyz", f"{GATEWAY_URL}//readyz", "/readyz?/v1/palette"),
        *("/v1//config", "/v1/reactions/", "/nothing"),
    ],
)
def test_the_gateway_knows_the_paths_for_viewers_alone(target: str) -> None:
    connection = _connection()
    connection.request("GET", target)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (404, "application/problem+json")
    assert json.loads(answer.read())["status"] == 404
    connection.close()


def test_the_gateway_serves_the_tag_for_other_pages() -> None:
    assert 'customElements.define("emostream-reactions"' in _get("/emostream-reactions.js")
    assert _get("/static/reactions.css")


def test_viewers_need_a_token_and_those_of_the_page_are_guests() -> None:
    reaction = {"emoji_type": "🔥", "timestamp": 1}
    assert _post("/v1/reactions", reaction)[0] == 401
    status, guest = _post("/v1/guests", {})
    assert status == 200
    assert _post("/v1/reactions", reaction, guest["token"])[0] == 202
    status, assigned = _post("/v1/assignments", {"user_id": "x"})
    assert status == 200
    with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
        _open(assigned["sse_url"])
    refusal.value.close()
    url = f"{assigned['sse_url']}?access_token={assigned['token']}"
    with _open(url) as stream:
        assert stream.status == 200
    # A guest who sends more than a user may is told when to come again.
    statuses = [_post("/v1/reactions", [reaction] * 20, guest["token"])[0] for _ in range(8)]
    assert 429 in statuses


def test_the_live_topology_is_for_operators() -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
        _get("/v1/topology/live")
    refusal.value.close()
    assert json.loads(_get("/v1/config"))["live_topology"] is False
    url = f"https://{MACHINES['registry1']['ansible_host']}:8011/v1/topology/live"
    with urllib.request.urlopen(url, timeout=30, context=control.operator_context("vagrant")) as answer:
        processes = json.loads(answer.read())["processes"]
    assert {process["tier"] for process in processes if process["ready"] and process["metrics"]} == {
        *("aggregator", "audit", "ingest", "publisher", "registry", "subscriber"),
    }


@pytest.mark.quick
def test_viewers_move_without_a_gap_when_their_subscriber_is_stopped(system: Hosts) -> None:
    edge, leaving = system["edge1"], "cluster1/edge1-1"

    async def scenario() -> None:
        async with watching() as audience:
            assert audience.on(leaving)
            await asyncio.to_thread(edge.check_output, "systemctl stop emostream-subscriber@1")
            await audience.until(lambda: audience.are_all_live() and not audience.on(leaving))
            moved_at = audience.accepted
            await audience.until(lambda: all(seen > moved_at for seen in audience.seen()))

    try:
        asyncio.run(scenario())
    finally:
        edge.check_output("systemctl start emostream-subscriber@1")
    wait_until(lambda: live_subscribers() == SUBSCRIBERS, 120)


def test_viewers_see_everything_while_their_subscribers_are_restarted_one_by_one() -> None:
    async def scenario() -> None:
        async with watching():
            restarted = await asyncio.to_thread(
                control.play, "playbooks/restart.yml", "--extra-vars", "tier=subscriber", seconds=600
            )
            assert restarted.status == 0, restarted.output

    asyncio.run(scenario())


def _opens_locust(password: str) -> bool:
    """Whether this password opens Locust's page, and does not lead back to the login."""
    form = urllib.parse.urlencode({"username": "emostream", "password": password}).encode()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(f"{LOCUST_URL}/login_submit", form, timeout=30) as answer:
        return not answer.url.endswith("/login")


def test_locusts_page_opens_with_the_generated_password_alone() -> None:
    assert _opens_locust((control.REPOSITORY / "build" / "secrets" / "vagrant" / "locust").read_text().strip())
    assert not _opens_locust("emostream")
    with urllib.request.urlopen(LOCUST_URL, timeout=30) as answer:
        assert answer.url.startswith(f"{LOCUST_URL}/login")


def test_a_run_of_locust_loses_nothing_and_leaves_its_report_here() -> None:
    before = set(REPORTS.glob("vagrant-*"))
    size = {"shape": "steady", "viewers": 100, "reactions": 50, "seconds": 30}
    driven = control.play("playbooks/load.yml", "--extra-vars", json.dumps(size), seconds=600)
    assert driven.status == 0, driven.output
    assert "conservation holds: accepted" in driven.output
    [folder] = set(REPORTS.glob("vagrant-*")) - before
    run = json.loads((folder / "run.json").read_text())
    assert run["verdict"]["problems"] == []
    assert "conservation holds" in (folder / "report.html").read_text()
