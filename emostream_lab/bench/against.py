"""Compares this checkout with another revision: measures both in turn, five times, and compares pair by pair.

The figures of a single run differ between machines by a factor of two, and between hours by tens of percent. The two
runs of a pair follow each other, so their ratio depends on the code alone. The other revision is checked out below
build/. It runs with the packages of this .venv and the jars of this checkout.
"""

import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from emostream.errors import EmoStreamError
from emostream_lab.bench.figures import Figure, Findings, number
from emostream_lab.bench.results import FILE
from emostream_lab.bench.servers import Tell

PAIRS = 5
THIS, OTHER = "this checkout", "the other"
_WIDTH = 110


@dataclass(frozen=True)
class Comparison:
    """One figure of both revisions. `pairs` has the two values of each pair of runs, this checkout's first."""

    figure: Figure
    pairs: Sequence[tuple[float, float]]

    @property
    def this(self) -> float:
        """The median of this checkout's values."""
        return statistics.median(this for this, _ in self.pairs)

    @property
    def other(self) -> float:
        """The median of the other revision's values."""
        return statistics.median(other for _, other in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """This checkout's value divided by the other's, for each pair.

        Empty for exponents, and if a value is not positive.
        """
        if self.figure.unit == "exponent" or not all(this > 0 and other > 0 for this, other in self.pairs):
            return []
        return [this / other for this, other in self.pairs]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios, which is not the ratio of the medians. None without ratios."""
        return statistics.median(self.ratios) if self.ratios else None


def order(pairs: int) -> list[str]:
    """Return which revision runs when. It alternates which one starts a pair, so that neither is always first."""
    return [name for pair in range(pairs) for name in ((THIS, OTHER) if pair % 2 == 0 else (OTHER, THIS))]


def compare(runs: Sequence[tuple[Findings, Findings]]) -> list[Comparison]:
    """Return a comparison of each figure that all runs have, in the order of this checkout's first run.

    Each item of `runs` has the findings of this checkout and those of the other revision.
    """
    by_name = [(_by_name(this), _by_name(other)) for this, other in runs]
    return [
        Comparison(figure, [(this[key].value, other[key].value) for this, other in by_name])
        for key, figure in by_name[0][0].items()
        if all(key in this and key in other for this, other in by_name)
    ]


def table(comparisons: Sequence[Comparison], revision: str) -> str:
    """Return a table with a row for each figure: both medians, and the median, least and greatest ratio."""
    grid = Table(title=f"this checkout against {revision}", title_justify="left")
    for heading in ("part", "figure"):
        grid.add_column(heading)
    for heading in ("this", "other", "ratio", "pairs"):
        grid.add_column(heading, justify="right")
    for each in comparisons:
        ratios = each.ratios
        spread = f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else ""
        ratio = "–" if each.ratio is None else f"{each.ratio:.2f}"
        name = f"{each.figure.name}, {each.figure.unit}" if each.figure.unit else each.figure.name
        grid.add_row(each.figure.part, name, number(each.this), number(each.other), ratio, spread)
    console = Console(width=_WIDTH)
    with console.capture() as captured:
        console.print(grid)
    return captured.get()


def measure(repository: Path, revision: str, arguments: Sequence[str], tell: Tell, pairs: int = PAIRS) -> str:
    """Measure both revisions in turn with these arguments of the benchmark, and return the table.

    The results of each run are kept in build/against/. Raises EmoStreamError if the revision does not exist, if a run
    ends without results, or if the two have no figure in common.
    """
    commit = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    directory = repository / "build" / "against"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    found: dict[str, list[Findings]] = {THIS: [], OTHER: []}
    with _checkout(repository, commit, directory / "checkout") as checkout:
        places = {THIS: repository, OTHER: checkout}
        for run, name in enumerate(order(pairs)):
            tell(f"pair {run // 2 + 1} of {pairs}: {name}")
            kept = directory / f"{run + 1:02}-{'this' if name == THIS else 'other'}"
            found[name].append(_run(places[name], arguments, kept))
    comparisons = compare(list(zip(found[THIS], found[OTHER], strict=True)))
    if not comparisons:
        raise EmoStreamError(f"{revision} has no figure of the same name, so there is nothing to compare.")
    return table(comparisons, f"{revision} ({commit[:10]})")


def _by_name(findings: Findings) -> dict[tuple[str, str], Figure]:
    return {(figure.part, figure.name): figure for figure in findings.figures}


def _run(checkout: Path, arguments: Sequence[str], kept: Path) -> Findings:
    """Run the benchmark once in a checkout. Its results and its output stay at `kept`, as .json and .log."""
    results = checkout / FILE
    results.unlink(missing_ok=True)
    # Older revisions have no `emostream_lab`. Their benchmark is the package `bench` at the root.
    module = "emostream_lab.bench" if (checkout / "emostream_lab" / "bench").is_dir() else "bench"
    # Python imports from the working directory first, so it runs the code of `checkout`.
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", module, *arguments]
    log_file = kept.with_suffix(".log")
    with log_file.open("wb") as log:
        subprocess.run(command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT, check=False)
    # A benchmark fails if a figure misses its bound, but it still has results.
    if not results.exists():
        tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-10:])
        raise EmoStreamError(f"the benchmark in {checkout} ended without results. The end of {log_file}:\n{tail}")
    shutil.copyfile(results, kept.with_suffix(".json"))
    return msgspec.json.decode(results.read_bytes(), type=Findings)


@contextmanager
def _checkout(repository: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Check out the commit into a folder, and remove it at the end.

    The folder links to what the set-up built in this checkout.
    """
    # If an earlier run was killed, git still knows its checkout although the folder is gone.
    _git(repository, "worktree", "prune")
    _git(repository, "worktree", "add", "--detach", str(folder), commit)
    try:
        (folder / "build").mkdir(exist_ok=True)
        for made in ("jars", "nchan", "centrifugo"):
            (folder / "build" / made).symlink_to(repository / "build" / made)
        yield folder
    finally:
        _git(repository, "worktree", "remove", "--force", str(folder))


def _git(repository: Path, *arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise EmoStreamError(f"`git {' '.join(arguments)}` failed: {ended.stderr.strip()}")
    return ended.stdout.strip()
