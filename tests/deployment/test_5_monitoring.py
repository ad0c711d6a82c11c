"""Prometheus sees every unit and host, no alert fires, and the page of graphs has something to show for each tier."""

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from emostream.monitoring import grafana
from tests.deployment.hosts import MACHINES, UNITS, Hosts
from tests.integration.viewers import wait_until

pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("system")]

URL = f"http://{MACHINES['monitoring1']['ansible_host']}:8020"
# The first values of a rate need two scrapes of all, and its canary must have reacted twice.
_SETTLED_SECONDS = 120
# What nobody does in a system that is well and has no audience, so there is no such series.
QUIET = {
    "emostream_subscriber_refusals_total",
    "emostream_registry_assignments_total",
    "emostream_registry_refused_assignments_total",
}


def _ask(path: str, **parameters: str) -> Any:
    return json.loads(_get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]


def _get(path: str) -> bytes:
    with urllib.request.urlopen(f"{URL}{path}", timeout=30) as answer:  # noqa: S310 - of our own Prometheus
        content: bytes = answer.read()
        return content


def _value(expr: str) -> list[Any]:
    filled = expr.replace("$event", ".*").replace("$window", "1m")
    result: list[Any] = _ask("query", query=filled)["result"]
    return result


def test_every_target_of_every_tier_is_up() -> None:
    down: list[str] = []

    def all_are_up() -> bool:
        active = _ask("targets", state="active")["activeTargets"]
        down[:] = [f"{each['labels']['instance']}: {each['lastError']}" for each in active if each["health"] != "up"]
        return bool(active) and not down

    wait_until(all_are_up, _SETTLED_SECONDS, lambda: down)
    hosts_by_tier: dict[str, set[str]] = {}
    for each in _ask("targets", state="active")["activeTargets"]:
        hosts_by_tier.setdefault(each["labels"]["tier"], set()).add(each["labels"]["host"])
    assert hosts_by_tier["node"] == set(MACHINES)
    assert set().union(*hosts_by_tier.values()) == set(MACHINES)
    listeners = sum(1 for unit in UNITS if unit.port)
    ours = _value('count(up{tier=~"aggregator|audit|canary|ingest|publisher|registry|subscriber"} == 1)')
    assert int(ours[0]["value"][1]) == listeners


def test_no_alert_fires() -> None:
    firing: list[Any] = []

    def none_fires() -> bool:
        firing[:] = [each["labels"] for each in _ask("alerts")["alerts"] if each["state"] == "firing"]
        return not firing

    wait_until(none_fires, _SETTLED_SECONDS, lambda: firing)
    rules = [rule for group in _ask("rules", type="alert")["groups"] for rule in group["rules"]]
    assert rules
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def test_the_page_has_the_figures_of_every_tier() -> None:
    assert b"Emo<b>Stream</b>" in _get("/user/")
    assert json.loads(_get("/user/panels.json"))["sections"]
    asked = [query.expr for section in grafana.sections() for panel in section.panels for query in panel.queries]
    metrics = {name for expr in asked for name in grafana.metrics_in(expr)} - QUIET
    missing: set[str] = set()

    def all_are_there() -> bool:
        known = set(_ask("label/__name__/values"))
        missing.clear()
        missing.update(metrics - known)
        return not missing

    wait_until(all_are_there, _SETTLED_SECONDS, lambda: sorted(missing))


def test_the_packages_own_units_never_run(system: Hosts) -> None:
    for host, name in (
        ("monitoring1", "prometheus"),
        ("monitoring1", "prometheus-alertmanager"),
        ("kafka1", "prometheus-node-exporter"),
    ):
        assert system[host].check_output(f"systemctl show --property LoadState --value {name}") == "masked"
