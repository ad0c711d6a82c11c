"""Writes docs/configuration.md: every setting and every metric, from the code that defines them."""

import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

import emostream
from emostream import config
from emostream.operate import rights

_HEAD = """\
# Settings and metrics

This page is written by `emostream config reference`, from the code; a test fails where it is not up to date.

## Settings

Each setting is an environment variable. A process does not start with a variable that begins with `EMOSTREAM_` and is
not a setting, so a misspelt one is never ignored. `emostream config show TIER` prints the values that a tier would
start with. If they are invalid, `emostream config check TIER` says what to change, and exits 2.
"""
_METRICS_HEAD = """\

## Metrics

Every process answers `GET /metrics` in Prometheus' text format, at its admin listener.
"""


def configuration_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, *_settings(), _METRICS_HEAD, *_metrics()]) + "\n"


def rights_tables() -> str:
    """Who may do what in Kafka and ZooKeeper, as Markdown."""
    clusters = [rights.CLUSTER]
    may: dict[tuple[str, str], list[str]] = {}
    for right in rights.kafka_rights(clusters):
        may.setdefault((right.subject, f"{right.resource} `{right.names}`"), []).append(right.operation)
    in_kafka = [(f"`{subject}`", where, ", ".join(operations)) for (subject, where), operations in may.items()]
    in_zookeeper = [
        (f"`{node.path}`", ", ".join(f"`{writer}`" for writer in node.writers), node.how)
        for node in rights.zookeeper_nodes(config.ZooKeeperSettings.model_fields["root"].default, clusters)
        if node.writers
    ]
    at_most = [
        (f"`{subject}`", ", ".join(f"`{name}` {value:,.0f}" for name, value in quota.items()))
        for subject, quota in rights.quotas(clusters).items()
    ]
    return "\n".join(
        [
            *_table(("identity", "in Kafka", "may"), in_kafka),
            *_table(("node of ZooKeeper", "written by", "what"), in_zookeeper),
            *_table(("identity", "at most, at each broker"), at_most),
        ]
    )


def metric_names() -> list[str]:
    """The metrics of all tiers, as Prometheus shows them."""
    return [name.strip("`") for _, rows in _metrics_by_tier() for name, *_ in rows]


_NAMES = {str: "text", int: "integer", float: "number", bool: "`true` \\| `false`"}


def _settings() -> Iterator[str]:
    for section in config.SECTIONS:
        tiers = [tier for tier, sections in config.TIERS.items() if section in sections]
        yield f"### {section.title[0].upper()}{section.title[1:]}\n"
        yield f"{(section.__doc__ or '').splitlines()[0]} Read by {', '.join(f'`{tier}`' for tier in tiers)}.\n"
        yield from _table(
            ("variable", "default", "type", "meaning"),
            (
                (f"`{section.variable(name)}`", _default(field.default), _kind(field), str(field.description))
                for name, field in section.model_fields.items()
            ),
        )


def _default(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return f"`{text}`" if text else "(empty)"


def _kind(field: Any) -> str:
    """What may stand there: the type and its bounds."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return " \\| ".join(f"`{choice}`" for choice in get_args(annotation))
    name = "list" if get_origin(annotation) is tuple else _NAMES[annotation]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(bound, key):,}"
        for bound in field.metadata
        for key, sign in signs.items()
        if hasattr(bound, key)
    ]
    return " ".join([name, ", ".join(bounds)]).strip()


def _metrics() -> Iterator[str]:
    for tier, rows in _metrics_by_tier():
        yield f"### {tier}\n"
        yield from _table(("metric", "type", "labels", "meaning"), rows)


def _metrics_by_tier() -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """For each module that counts something: its name in the page, and a row a metric."""
    found = []
    for name in ["emostream.runtime.http", "emostream.runtime.tls", *_metrics_modules()]:
        values = vars(importlib.import_module(name)).values()
        title = name.removeprefix("emostream.").removeprefix("runtime.").removesuffix(".metrics")
        found.append((title, [_row(value) for value in values if isinstance(value, MetricWrapperBase)]))
    return found


def _metrics_modules() -> Iterator[str]:
    for tier in pkgutil.iter_modules(emostream.__path__, "emostream."):
        if tier.ispkg and importlib.util.find_spec(f"{tier.name}.metrics"):
            yield f"{tier.name}.metrics"


def _row(metric: Any) -> tuple[str, str, str, str]:
    name = metric._name + ("_total" if isinstance(metric, Counter) else "")
    return f"`{name}`", metric._type, ", ".join(metric._labelnames), metric._documentation


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    yield from map(_line, rows)
    yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
