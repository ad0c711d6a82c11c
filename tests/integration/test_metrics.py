"""Prometheus' own checker finds nothing wrong with our metrics."""

import subprocess

from prometheus_client import generate_latest

from emostream.operate import reference
from emostream_lab.machine import prometheus

# Each has few values. `path` is a route or "other", and `event` one of `max_event_labels` or "_other".
LABELS = {"change", "cluster", "event", "kind", "outcome", "path", "reason", "release", "status", "subject", "version"}


def test_names_types_and_units_follow_the_conventions() -> None:
    # It imports every module that counts.
    assert len(reference.metric_names()) > 50
    exposition = generate_latest()
    checked = subprocess.run(
        [prometheus.program("promtool"), "check", "metrics"], input=exposition, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert b"_created" not in exposition


def test_no_label_has_values_that_a_stranger_makes_up() -> None:
    rows = [row for _, rows in reference._metrics_by_tier() for row in rows]
    found = {label for _, _, labels, _ in rows for label in labels.split(", ") if label}
    assert found == LABELS
