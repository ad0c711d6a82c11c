"""Two revisions are measured in turn and compared pair by pair, so that slow phases of the machine cancel out."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab.bench import against
from emostream_lab.bench.against import OTHER, THIS, compare, order
from emostream_lab.bench.figures import Figure, Findings


def _found(**values: float) -> Findings:
    return Findings(figures=[Figure(part="ingest", name=name, value=value) for name, value in values.items()])


def test_the_ratio_is_the_median_of_the_pairs_and_not_that_of_the_medians() -> None:
    # The speed of the machine changes between pairs. This checkout is always twice as fast as the other.
    [found] = compare([(_found(posts=2 * speed), _found(posts=speed)) for speed in (100, 900, 50, 400, 700)])
    assert (found.ratio, found.this, found.other) == (2.0, 800, 400)
    [found] = compare([(_found(posts=this), _found(posts=100)) for this in (100, 110, 500, 90, 120)])
    assert found.ratio == 1.1


def test_a_figure_that_one_of_them_lacks_is_left_out() -> None:
    found = compare([(_found(new=1, both=2), _found(both=1, old=1)), (_found(new=1, both=2), _found(both=1))])
    assert [each.figure.name for each in found] == ["both"]


@pytest.mark.parametrize(("this", "other"), [(0.0, 1.0), (1.0, 0.0), (-0.1, -0.2)])
def test_what_has_no_ratio_is_shown_by_its_values_alone(this: float, other: float) -> None:
    [found] = compare([(_found(kib=this), _found(kib=other))])
    assert (found.ratio, found.this, found.other) == (None, this, other)
    assert "–" in against.table([found], "main")


def test_exponents_have_no_ratio() -> None:
    runs = tuple(Findings(figures=[Figure(part="growth", name="x", value=0.1, unit="exponent")]) for _ in range(2))
    assert compare([(runs[0], runs[1])])[0].ratio is None


def test_each_pair_begins_with_the_other_one_than_the_pair_before() -> None:
    runs = order(5)
    pairs = [tuple(runs[start : start + 2]) for start in range(0, len(runs), 2)]
    assert len(pairs) == 5
    assert all(set(pair) == {THIS, OTHER} for pair in pairs)
    assert all(earlier != later for earlier, later in pairwise(pairs))


# A benchmark with one figure, `speed`. It fails, like a benchmark with a figure that misses its bound.
BENCHMARK = """
import json, pathlib, sys
figure = {"part": "made up", "name": "speed", "value": SPEED, "unit": " ".join(sys.argv[1:])}
pathlib.Path("build/bench").mkdir(parents=True, exist_ok=True)
pathlib.Path("build/bench/results.json").write_text(json.dumps({"machine": "", "figures": [figure]}))
with open(RUNS, "a") as runs:
    print(SPEED, file=runs)
sys.exit(1)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose last commit has a benchmark with speed 100, and whose working tree has one with speed 300."""
    root = tmp_path / "repository"
    root.mkdir()
    _git(root, "init", "--quiet")
    _write_benchmark(root, 100, tmp_path / "runs")
    _git(root, "add", ".")
    _git(root, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "slow")
    _write_benchmark(root, 300, tmp_path / "runs")
    return root


def _write_benchmark(root: Path, speed: int, runs: Path) -> None:
    folder = root / "emostream_lab" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "__main__.py").write_text(BENCHMARK.replace("SPEED", str(speed)).replace("RUNS", repr(str(runs))))


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def test_a_checkout_is_measured_against_a_revision_of_it(repository: Path) -> None:
    told: list[str] = []
    table = against.measure(repository, "HEAD", ["made_up", "--quick"], told.append, pairs=2)
    assert "made up" in table
    assert "speed, made_up --quick" in table
    assert "3.00" in table
    assert (repository.parent / "runs").read_text().split() == ["300", "100", "100", "300"]
    assert told[0] == f"pair 1 of 2: {THIS}"
    assert len(told) == 4
    kept = sorted((repository / "build" / "against").glob("*.json"))
    assert [path.stem for path in kept] == ["01-this", "02-other", "03-other", "04-this"]
    assert [json.loads(path.read_bytes())["figures"][0]["value"] for path in kept[:3]] == [300, 100, 100]


def test_the_other_checkout_is_gone_afterwards_whatever_happens(repository: Path) -> None:
    (repository / "emostream_lab" / "bench" / "__main__.py").write_text("raise SystemExit('no core is free')")
    with pytest.raises(EmoStreamError, match=r"ended without results[\s\S]*no core is free"):
        against.measure(repository, "HEAD", [], lambda _: None, pairs=1)
    assert len(_git(repository, "worktree", "list").splitlines()) == 1
    assert not (repository / "build" / "against" / "checkout").exists()


def test_a_checkout_that_a_killed_run_left_is_replaced(repository: Path) -> None:
    _git(repository, "worktree", "add", "--quiet", "--detach", "build/against/checkout")
    assert "3.00" in against.measure(repository, "HEAD", [], lambda _: None, pairs=1)


def test_a_revision_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(EmoStreamError, match="nowhere"):
        against.measure(repository, "nowhere", [], lambda _: None)


def test_two_that_have_no_figure_in_common_cannot_be_compared(repository: Path) -> None:
    benchmark = repository / "emostream_lab" / "bench" / "__main__.py"
    benchmark.write_text(benchmark.read_text().replace('"speed"', '"slowness"'))
    with pytest.raises(EmoStreamError, match="nothing to compare"):
        against.measure(repository, "HEAD", [], lambda _: None, pairs=1)
