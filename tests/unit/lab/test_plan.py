"""Tests the plan of hosts for an audience: enough of each, more for a larger audience, and as documented."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import IngestSettings
from emostream.errors import EmoStreamError
from emostream_lab import cli
from emostream_lab.bench import aggregator, compression, fanout, ingest, results
from emostream_lab.bench.figures import Figure, Findings
from emostream_lab.bench.posts import Answers
from emostream_lab.bench.report import write
from emostream_lab.bench.results import Results
from emostream_lab.bench.viewers import Joined
from emostream_lab.plan import (
    DEFAULT_LINGER_MS,
    FIGURES,
    Assumed,
    Audience,
    Measured,
    Plan,
    Tier,
    basis,
    measured_in,
    plan,
    report,
)
from tests.unit.lab.bench.test_aggregator import SLOW_SWARMS

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


def results_of(values: Mapping[str, float], *, quick: bool = False) -> Results:
    """Results with a figure for each of these fields of `Measured`."""
    figures = [Figure(part=FIGURES[field][0], name=FIGURES[field][1], value=value) for field, value in values.items()]
    return Results(machine="4 cores (ACME), Linux 7", date=date(2026, 12, 24), quick=quick, figures=figures)


def made_up_figures() -> list[Figure]:
    """The figures of a benchmark in which everything takes as long as everything else."""
    answers = Answers(1, [1.0], 1)
    single = {"EmoStream": [answers], "another": [answers]}
    servers = ("EmoStream", *(f"EmoStream, {form}" for form in ("compressed", "compact", "compact and compressed")))
    rounds = {name: [fanout.Round(Joined(1, 1), replace(answers, received_bytes=100))] for name in servers}
    return [
        *ingest._figures(single, answers),
        *aggregator._catch_up_figures(SLOW_SWARMS),
        *compression._figures("SSE", 32, rounds, quick=False),
    ]


def test_the_benchmark_makes_each_figure_that_a_plan_takes() -> None:
    made = Results(machine="", date=date(2026, 12, 24), quick=False, figures=made_up_figures())
    assert set(measured_in(made)) == set(FIGURES)


def test_a_plan_takes_what_the_results_have_and_built_in_values_for_the_rest() -> None:
    found = measured_in(results_of({"requests_per_second": 7_000.5, "counted_per_second": 900_000}))
    assert found == {"requests_per_second": 7_000.5, "counted_per_second": 450_000}
    assert Measured(**found) == replace(Measured(), requests_per_second=7_000.5, counted_per_second=450_000)


def test_the_basis_tells_measured_values_from_built_in_ones() -> None:
    text = basis(results_of({"requests_per_second": 7_000.5}))
    measured, _, built_in = text.partition("built in")
    assert measured.splitlines() == [
        "measured: `make bench` on 2026-12-24, on 4 cores (ACME), Linux 7:",
        "  requests per second: 7,000",
    ]
    assert "requests per second" not in built_in
    assert "deliveries per second: 96,000" in built_in
    assert basis(results_of({})) == basis()


def test_the_basis_says_that_a_quick_run_is_rough() -> None:
    text = basis(results_of({"requests_per_second": 7_000}, quick=True))
    assert text.startswith(
        "measured: `make bench-quick` on 2026-12-24, on 4 cores (ACME), Linux 7; a quick run is rough:"
    )


def test_results_without_speed_are_refused() -> None:
    with pytest.raises(EmoStreamError, match=r"ingest, single POST: EmoStream: 0 cannot be\. Run `make bench` again"):
        measured_in(results_of({"requests_per_second": 0}))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"machine": "", "figures": []}'])
def test_a_broken_file_is_refused_by_its_name(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(EmoStreamError, match=r"results\.json cannot be used: .+ Run `make bench`"):
        results.read(file)


def test_the_command_follows_from_the_last_results_or_from_those_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def printed(*options: str) -> str:
        arguments = ["plan", "--viewers", "1000000", "--reactions-per-second", "100000", *options]
        return CliRunner().invoke(cli.main, arguments, catch_exceptions=False).output

    monkeypatch.chdir(tmp_path)
    assert printed() == f"{report(plan(SHOWN[0]))}\n\n{basis()}\n"
    results.FILE.parent.mkdir(parents=True)
    figures = results_of({"compact_part": 0.5, "requests_per_second": 34_000}).figures
    write(Findings(figures=figures), results.FILE.parent, quick=False)
    assert "compact form                          800      3.20" in printed()
    assert "measured: `make bench` on" in printed()
    moved = results.FILE.rename("moved.json")
    assert "measured" not in printed()
    assert "measured" in printed("--results", str(moved))


def test_the_shorter_forms_need_no_other_hosts() -> None:
    forms = plan(SHOWN[0], replace(Measured(), compressed_part=0.5, compact_part=0.25)).forms
    assert [(form.swarm_bytes, form.gbit_per_second) for form in forms[:3]] == [(1_600, 6.4), (800, 3.2), (400, 1.6)]
