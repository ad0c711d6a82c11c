"""Tests the plan of hosts for an audience: enough of each, more for a larger audience, and as documented."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import IngestSettings
from emostream_lab.plan import DEFAULT_LINGER_MS, Assumed, Audience, Measured, Plan, Tier, plan, report

MILLION = 1_000_000
SHOWN = [Audience(MILLION, 100_000), Audience(10 * MILLION, MILLION), Audience(50 * MILLION, 5 * MILLION)]
audiences = st.builds(Audience, viewers=st.integers(1, 10**9), reactions_per_second=st.integers(1, 10**8))


def tier(found: Plan, name: str) -> Tier:
    [result] = [tier for tier in found.tiers if tier.name == name]
    return result


@pytest.mark.parametrize("audience", SHOWN, ids=lambda audience: f"{audience.viewers:,}")
def test_the_document_shows_what_the_command_says(audience: Audience) -> None:
    page = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    shown = "\n".join(f"    {line}".rstrip() for line in report(plan(audience)).splitlines())
    assert shown in page, f"put what `emostream plan` prints for {audience} into docs/performance.md"


@given(audiences)
def test_each_tier_can_bear_its_load_without_using_more_than_its_part(audience: Audience) -> None:
    found, measured, assumed = plan(audience), Measured(), Assumed()
    ingest, subscribers, aggregator = (tier(found, name) for name in ("ingest", "subscribers", "aggregator"))
    assert ingest.processes * measured.requests_per_second * assumed.used_part >= audience.reactions_per_second
    assert aggregator.processes * measured.counted_per_second * assumed.used_part >= audience.reactions_per_second
    assert subscribers.processes * found.subscriber_capacity * assumed.used_part >= audience.viewers
    sent_mb_per_second = audience.viewers * measured.swarm_bytes / assumed.trigger_seconds / 1e6
    assert subscribers.hosts * assumed.network_mb_per_second * assumed.used_part >= sent_mb_per_second
    assert found.clusters * assumed.subscribers_per_cluster >= subscribers.processes
    assert found.reactions_partitions >= aggregator.processes


@given(audiences)
def test_no_tier_has_a_single_point_of_failure(audience: Audience) -> None:
    assert all(tier.processes >= 2 and tier.hosts >= 2 for tier in plan(audience).tiers)


@given(audiences, st.integers(1, 10**8))
def test_more_of_an_audience_never_needs_less(audience: Audience, more: int) -> None:
    for field in ("viewers", "reactions_per_second"):
        larger = replace(audience, **{field: getattr(audience, field) + more})
        assert plan(larger).hosts >= plan(audience).hosts


def test_faster_cores_need_fewer_hosts() -> None:
    fast = replace(Measured(), requests_per_second=8_000, deliveries_per_second=180_000)
    assert plan(SHOWN[2], fast).hosts < plan(SHOWN[2]).hosts


def test_the_network_decides_where_it_is_the_narrowest() -> None:
    narrow = replace(Assumed(), network_mb_per_second=125)
    assert tier(plan(SHOWN[2], assumed=narrow), "subscribers").because == "the network to the viewers"


def test_a_record_stays_open_for_the_default_time_at_least() -> None:
    assert IngestSettings.model_fields["linger_ms"].default == DEFAULT_LINGER_MS
    assert plan(Audience(1, 10**8), replace(Measured(), requests_per_second=10**6)).linger_ms == DEFAULT_LINGER_MS
