"""A run names each judged figure that misses its bound, and fails. A short run judges fewer figures."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from emostream_lab.bench import __main__ as command
from emostream_lab.bench import machine
from emostream_lab.bench.figures import Figure, Findings, last_lines, short

TOLD = Figure(part="fan-out", name="SSE: nchan", value=1.0)
REACHED = Figure(part="fan-out", name="SSE, by nchan", value=1.3, unit="×", at_least=1.3)
SHORT = Figure(part="ingest", name="p99 of POST", value=120.0, unit="ms", at_most=100)


def test_only_a_judged_figure_can_be_short() -> None:
    assert short([TOLD, REACHED, SHORT, SHORT.unjudged()]) == [SHORT]


def test_a_figure_that_is_not_judged_keeps_its_value() -> None:
    assert (SHORT.unjudged().value, SHORT.unjudged().bound, SHORT.unjudged().is_judged) == (120.0, "", False)


def test_the_last_lines_name_what_is_short() -> None:
    assert last_lines([TOLD, REACHED, SHORT]).splitlines() == [
        "short: ingest, p99 of POST: 120 ms (≤ 100)",
        "1 of 2 figures reached",
    ]
    assert last_lines([TOLD, REACHED]) == "1 of 1 figures reached"


@pytest.mark.parametrize(("figures", "status"), [([TOLD, REACHED], None), ([REACHED, SHORT], 1)], ids=["all", "short"])
def test_a_run_fails_where_a_figure_is_short(
    figures: list[Figure],
    status: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    _make_up_a_part(lambda *_, **__: Findings(figures=figures), monkeypatch, tmp_path)
    if status is None:
        command.main()
    else:
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert ended.value.code == status
    assert capsys.readouterr().out.endswith(f"{last_lines(figures)}\n")


def test_a_run_that_is_interrupted_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> Findings:
        raise KeyboardInterrupt

    _make_up_a_part(interrupt, monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match="interrupted"):
        command.main()


def _make_up_a_part(measure: Callable[..., Findings], monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Make the command run this function as a part of the benchmark."""
    part = ModuleType("emostream_lab.bench.made_up")
    vars(part)["measure"] = measure
    monkeypatch.setitem(sys.modules, part.__name__, part)
    monkeypatch.setattr(command, "PARTS", ("made_up",))
    monkeypatch.setattr(machine, "allow_many_files", lambda: None)
    monkeypatch.setattr(command, "OUTPUT", directory / "bench")
    monkeypatch.setattr(sys, "argv", ["bench", "made_up"])
