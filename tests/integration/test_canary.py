"""The canary on the whole pipeline: it sees its reactions in each cluster, and says so when none is taken."""

from collections.abc import Iterator

import pytest

from emostream_lab.processes import topology
from tests.conftest import RunTier, Tier
from tests.integration.asking import metric, unreadiness
from tests.integration.viewers import wait_until
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

EVENT = "test-canary"


@pytest.fixture
def canary(pipeline: Pipeline, run_tier: RunTier) -> Iterator[Tier]:
    """A canary in a hurry. Its event is gone after the test."""
    settings = {"EMOSTREAM_CANARY_EVENT": EVENT, "EMOSTREAM_CANARY_INTERVAL_MS": "1000"}
    yield run_tier("canary", environment={**topology.environment(pipeline.layout), **settings})
    pipeline.operate("events", "close", EVENT)
    pipeline.operate("events", "archive", EVENT, "--force")


def test_it_sees_its_reactions_in_each_cluster_until_none_is_taken(pipeline: Pipeline, canary: Tier) -> None:
    assert "no " in pipeline.operate("events", "list").split(EVENT)[1].splitlines()[0]
    for cluster in pipeline.layout.clusters:
        seen = f'emostream_canary_seen_seconds_count{{cluster="{cluster}"}}'
        wait_until(lambda seen=seen: _metric(canary, seen) >= 3)
        # It is there before anything is unseen.
        assert metric(canary.admin_port, f'emostream_canary_unseen_total{{cluster="{cluster}"}}') >= 0
    assert unreadiness(canary.admin_port) == ""
    assert _metric(canary, 'emostream_canary_reactions_total{outcome="accepted"}') >= 3
    pipeline.operate("events", "close", EVENT)
    wait_until(lambda: _metric(canary, 'emostream_canary_reactions_total{outcome="refused"}') >= 2)


def _metric(canary: Tier, name: str) -> float:
    try:
        return metric(canary.admin_port, name)
    except ValueError:
        # Its label has not come yet.
        return 0
