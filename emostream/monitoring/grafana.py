"""Makes a dashboard for Grafana of the list of graphs, which the page has too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

_PANELS = Path(__file__).parent / "page" / "panels.json"
_UNITS = {
    "per_second": "ops",
    "bytes_per_second": "Bps",
    "bytes": "bytes",
    "seconds": "s",
    "ratio": "percentunit",
    "cores": "short",
    "count": "short",
}
# The grid is 24 wide.
_WIDTH, _HEIGHT, _IN_A_ROW = 8, 7, 3
_METRIC = re.compile(r"\b(?:up\b|(?:emostream|haproxy|kafka|node|process|prometheus|spark|zookeeper)_\w+)")
_DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """A query and the name of each of its series. `{{cluster}}` stands for a label, `$event` for the chosen event."""

    expr: str
    legend: str


class Panel(msgspec.Struct, forbid_unknown_fields=True):
    """A graph."""

    title: str
    unit: str
    queries: list[Query]


class Section(msgspec.Struct, forbid_unknown_fields=True):
    """The graphs of a tier. `saturation` is how busy it is: 1 is all that it can do."""

    name: str
    title: str
    saturation: str | None
    panels: list[Panel]


class _Page(msgspec.Struct, forbid_unknown_fields=True):
    sections: list[Section]


def sections() -> list[Section]:
    """The graphs, as panels.json names them."""
    return msgspec.json.decode(_PANELS.read_bytes(), type=_Page).sections


def metrics_in(expr: str) -> set[str]:
    """The metrics that a query names."""
    return set(_METRIC.findall(re.sub(r'"[^"]*"', "", expr)))


def dashboard() -> str:
    """The dashboard as JSON, to be imported."""
    content = {
        "title": "EmoStream",
        "uid": "emostream",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [_data_source(), _events()]},
        "panels": list(_panels()),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _events() -> dict[str, Any]:
    values = {"query": "label_values(event)", "refId": "events"}
    return {
        "name": "event",
        "label": "Event",
        "type": "query",
        "datasource": _DATA_SOURCE,
        "query": values,
        "includeAll": True,
        "allValue": ".*",
        "refresh": 2,
    }


def _panels() -> Iterator[dict[str, Any]]:
    top = 0
    for section in sections():
        yield {"type": "row", "title": section.title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "panels": []}
        top += 1
        for number, panel in enumerate(section.panels):
            row, column = divmod(number, _IN_A_ROW)
            place = {"x": column * _WIDTH, "y": top + row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            yield {
                "type": "timeseries",
                "title": panel.title,
                "datasource": _DATA_SOURCE,
                "gridPos": place,
                "fieldConfig": {"defaults": {"unit": _UNITS[panel.unit], "min": 0}, "overrides": []},
                "targets": [_target(query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
            }
        top += _HEIGHT * -(-len(section.panels) // _IN_A_ROW)


def _target(query: Query, letter: str) -> dict[str, str]:
    expr = query.expr.replace("[$window]", "[$__rate_interval]")
    return {"refId": letter, "expr": expr, "legendFormat": query.legend}
