"""The alerts fire when they should, an operator finds each in the docs, and every graph asks for metrics that exist."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from emostream import monitoring
from emostream.monitoring import grafana
from emostream.operate import reference
from emostream_lab.machine import prometheus
from tests.unit.test_docs import ROOT

FOLDER = Path(monitoring.__file__).parent
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES]
TESTS = Path(__file__).parent / "alerts.yml"


def promtool(*arguments: str | Path) -> str:
    """What promtool says, which must find nothing wrong."""
    command = [prometheus.program("promtool"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    (tmp_path / "targets.json").write_text("[]")
    assert f"{len(RULES)} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_each_alert_fires_at_its_fault_and_at_nothing_else(tmp_path: Path) -> None:
    bare = {"groups": [{**group, "rules": [_bare(rule) for rule in group["rules"]]} for group in ALERTS["groups"]]}
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(bare))
    (tmp_path / "tests.yml").write_text(TESTS.read_text())
    promtool("test", "rules", tmp_path / "tests.yml")


def _bare(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key != "annotations"}


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    tests = [each for test in yaml.safe_load(TESTS.read_text())["tests"] for each in test["alert_rule_test"]]
    fires = {bool(each.get("exp_alerts")) for each in tests if each["alertname"] == name}
    assert fires == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_runbook_has_each_alert_under_its_name(rule: dict[str, Any]) -> None:
    page = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    said = f"### {rule['alert']} {rule['annotations']['summary']} {rule['annotations']['remedy']}"
    assert " ".join(said.split()) in page


QUERIES = [
    expr
    for section in grafana.sections()
    for expr in [
        *([section.saturation] if section.saturation else []),
        *(query.expr for panel in section.panels for query in panel.queries),
    ]
]


def test_each_query_of_a_graph_is_one(tmp_path: Path) -> None:
    filled = [expr.replace("$event", ".*").replace("$window", "30s") for expr in QUERIES]
    rules = [{"record": f"graph_{number}", "expr": expr} for number, expr in enumerate(filled)]
    (tmp_path / "graphs.yml").write_text(yaml.safe_dump({"groups": [{"name": "graphs", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", tmp_path / "graphs.yml")


def test_graphs_and_alerts_name_metrics_that_exist() -> None:
    histogram_series = {"_bucket", "_sum", "_count"}
    ours = {name + suffix for name in reference.metric_names() for suffix in {"", *histogram_series}}
    named = {name for expr in [*QUERIES, *(rule["expr"] for rule in RULES)] for name in grafana.metrics_in(expr)}
    assert {name for name in named if name.startswith("emostream_")} <= ours
    # A test of the demo sees that the servers on one machine have theirs. These are of hosts.
    of_hosts = {name for name in named if name.startswith(("node_", "haproxy_"))}
    others = named - of_hosts - ours
    assert {name.partition("_")[0] for name in others} == {"kafka", "zookeeper", "spark", "process", "up"}


def test_grafana_gets_a_panel_for_each_graph() -> None:
    dashboard = msgspec.json.decode(grafana.dashboard())
    graphs = [panel for panel in dashboard["panels"] if panel["type"] == "timeseries"]
    assert len(graphs) == sum(len(section.panels) for section in grafana.sections())
    asked = [target["expr"] for panel in graphs for target in panel["targets"]]
    assert asked
    assert not [expr for expr in asked if "$window" in expr]
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "event"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
