"""Which figures of the aggregator a run judges. In a short run the JVM still compiles, so its times are not judged."""

from emostream import model
from emostream_lab.bench.aggregator import _Counted, _findings

SLOW_SWARMS = [
    _Counted(
        model.Swarm(
            id=model.message_id("s", sequence),
            sequence=sequence,
            window=model.Window(sequence * 1_000, (sequence + 1) * 1_000),
            reactions=10,
            counts={"🔥": 10},
            swarm={"🔥": 1},
            totals={"🔥": 10 * sequence},
            progress=model.Progress("topic-id", {"0": sequence}),
        ),
        written_ms=(sequence + 1) * 1_000 + 900 + sequence,
    )
    for sequence in range(16)
]


def judged(*, quick: bool) -> set[str]:
    """The names of the figures that are judged."""
    findings = _findings(SLOW_SWARMS, SLOW_SWARMS, work_ms=900, quick=quick)
    return {figure.name for figure in findings.figures if figure.is_judged}


def test_a_quick_run_judges_no_time() -> None:
    assert "catching up" in judged(quick=False)
    assert "work of a batch of 2,000 reactions" in judged(quick=False)
    assert judged(quick=True) == {"catching up: largest batch"}
