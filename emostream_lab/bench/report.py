"""Presents the results of a run as a table, as JSON and as a picture."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from emostream_lab.bench import chart, machine
from emostream_lab.bench.figures import Figure, Findings, number
from emostream_lab.bench.results import FILE

_WIDTH = 110


def table(findings: Findings) -> str:
    """Return a table with a row for each figure. A growing cost has a row with its exponent."""
    grid = Table(title=machine.description(), title_justify="left")
    for heading in ("part", "figure"):
        grid.add_column(heading)
    for heading in ("value", "unit", "bound", ""):
        grid.add_column(heading, justify="right" if heading in {"value", "bound"} else "left")
    previous = ""
    for figure in findings.figures:
        if figure.part != previous:
            grid.add_section()
        grid.add_row(figure.part if figure.part != previous else "", *_cells(figure))
        previous = figure.part
    console = Console(width=_WIDTH)
    with console.capture() as captured:
        console.print(grid)
    return captured.get()


def write(findings: Findings, directory: Path, *, quick: bool) -> None:
    """Write results.json and figures.png."""
    run = {"machine": machine.description(), "date": datetime.now(UTC).date(), "quick": quick}
    content = {**run, **msgspec.to_builtins(findings)}
    (directory / FILE.name).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
    chart.draw(findings, directory / "figures.png")


def _cells(figure: Figure) -> list[str]:
    result = ("[green]reached" if figure.is_reached else "[bold red]short") if figure.is_judged else ""
    name = f"{figure.name} ({figure.note})" if figure.note else figure.name
    return [name, number(figure.value), figure.unit, figure.bound, result]
