"""Runs Locust as a user starts it: each shape in a short run, each fault, and a run that loses a worker.

Most runs drive a stand-in server, because the real pipeline cannot be made to lose or double reactions.
test_load_pipeline.py drives the real pipeline. All runs of one kind run at the same time, because each mostly waits.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from emostream_lab.audience.shapes import SHAPES
from emostream_lab.processes import servers
from tests.stand_in import FAULTS, stand_in

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120


@dataclass
class Outcome:
    """How Locust ended, what it printed, and the folder that it left."""

    status: int
    output: str
    folder: Path

    @property
    def line(self) -> str:
        return next((line for line in self.output.splitlines() if line.startswith("conservation")), "")

    @property
    def run(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return content

    def latencies(self, name: str) -> dict[str, Any]:
        return next((entry for entry in self.run["latencies"] if entry["name"] == name), {"count": 0})


def locust(directory: Path, url: str, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "locust", "--locustfile", str(ROOT / "locustfile.py"), "--headless"]
    command += ["--only-summary", "--host", url, "--results", str(directory), *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def two_workers() -> list[str]:
    """Return flags for two workers and a master with a free port of its own."""
    port = str(servers.free_port())
    return ["--processes", "2", "--master-bind-port", port, "--master-port", port]


def side_by_side(directory: Path, runs: Iterable[tuple[str, str, list[str]]]) -> dict[str, Outcome]:
    """Run Locust for each name, fault and flags, all at the same time, each against its own stand-in."""
    with ExitStack() as stack:
        started = {}
        for name, fault, flags in runs:
            process, url = stand_in(directory / name, fault)
            process.start()
            stack.callback(process.stop)
            process.wait_ready(30)
            started[name] = stack.enter_context(locust(directory / name, url, *flags))
            stack.callback(started[name].kill)
        outputs = {name: popen.communicate(timeout=TIMEOUT_SECONDS)[0] for name, popen in started.items()}
        return {
            name: Outcome(popen.returncode, outputs[name], next((directory / name).glob("2*/report.html")).parent)
            for name, popen in started.items()
        }


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    size = ["--viewers", "100", "--seconds", "8"]
    # With fewer reactions, one or two batches above the average would look like a goal.
    reactions = {"match": "1000"}
    runs = ((shape, "none", [*size, "--shape", shape, "--reactions", reactions.get(shape, "100")]) for shape in SHAPES)
    return side_by_side(tmp_path_factory.mktemp("shapes"), runs)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    size = ["--viewers", "9", "--reactions", "60", "--seconds", "5"]
    several = {"cross": "cross", "absent": "absent", "events": "none"}
    runs = [(fault, fault, size) for fault in FAULTS if fault not in several]
    runs += [(name, fault, [*size, "--events", "main,final"]) for name, fault in several.items()]
    runs.append(("share", "none", [*size, "--events", "main,final", "--share-of-first", "0.8"]))
    return side_by_side(tmp_path_factory.mktemp("faults"), runs)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_runs_to_its_end_and_nothing_is_lost(shapes: dict[str, Outcome], shape: str) -> None:
    outcome = shapes[shape]
    assert outcome.status == 0, outcome.output
    assert outcome.line.startswith("conservation holds: accepted ")
    assert outcome.latencies("DELIVERY POST to viewer")["count"] > 0
    assert outcome.latencies("DELIVERY window end to viewer")["count"] > 0
    assert outcome.latencies("STREAM connect (ws)")["count"] == 10


def test_viewers_of_a_churn_resume(shapes: dict[str, Outcome]) -> None:
    assert shapes["churn"].latencies("STREAM resume (sse)")["count"] > 0
    assert shapes["steady"].latencies("STREAM resume (sse)")["count"] == 0


def test_the_goal_of_a_match_shows_in_the_course_of_the_run(shapes: dict[str, Outcome]) -> None:
    rates = [moment["reactions"] for moment in shapes["match"].run["moments"]]
    assert max(rates) > 3 * rates[0]


def test_each_run_leaves_a_report_with_its_verdict_and_plots(shapes: dict[str, Outcome]) -> None:
    report = (shapes["steady"].folder / "report.html").read_text(encoding="utf-8")
    assert shapes["steady"].line in report
    assert report.count('<section id="emostream"') == 1
    assert '"moments": [{' in report


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("drop", "1 swarms came after one that never came"),
        ("double", "1 swarms came a second time"),
        ("lose", "1 reactions were lost: accepted and never counted: 🔥 1"),
        ("invent", "1 reactions were counted although nobody of this run sent them: 🔥 1"),
        ("differ", "swarms were not the same for all viewers"),
        ("refuse", "requests or streams failed"),
        ("hang-up", "1 requests or streams failed"),
        ("absent", "sent nothing, because it did not get a stream of final: the failures say why"),
        ("cross", "main: 1 reactions were lost: accepted and never counted: 🔥 1"),
        ("cross", "final: 1 reactions were counted although nobody of this run sent them: 🔥 1"),
    ],
)
def test_each_fault_is_found_and_named(faults: dict[str, Outcome], fault: str, said: str) -> None:
    outcome = faults[fault]
    assert outcome.status == 1
    assert outcome.line.startswith("conservation FAILED")
    assert said in outcome.output
    assert any(said in problem for problem in outcome.run["verdict"]["problems"])


def test_what_has_no_fault_passes_where_the_faulty_fail(faults: dict[str, Outcome]) -> None:
    assert faults["none"].status == 0, faults["none"].output


def test_each_event_has_its_part_of_the_audience_and_a_line_of_the_account(faults: dict[str, Outcome]) -> None:
    outcome = faults["events"]
    assert outcome.status == 0, outcome.output
    assert "; 9 viewers saw " in outcome.line
    lines = outcome.run["verdict"]["events"]
    assert [line.partition(":")[0] for line in lines] == ["main", "final"]
    assert {line.partition("; ")[2].partition(" saw ")[0] for line in lines} == {"4 viewers", "5 viewers"}
    for line in lines:
        assert "accepted 0" not in line
        assert f"  {line}\n" in outcome.output


def test_an_event_with_a_larger_share_is_timed_apart_from_the_others(faults: dict[str, Outcome]) -> None:
    outcome = faults["share"]
    assert outcome.status == 0, outcome.output
    viewers = [line.partition("; ")[2].partition(" viewers")[0] for line in outcome.run["verdict"]["events"]]
    assert viewers in (["7", "2"], ["8", "1"])
    large, others = (
        outcome.latencies(f"DELIVERY POST to viewer, once all have come: {group}")["count"]
        for group in ("main", "the other events")
    )
    assert 0 < others < large


@pytest.fixture
def healthy(tmp_path: Path) -> Iterator[str]:
    process, url = stand_in(tmp_path)
    process.start()
    process.wait_ready(30)
    yield url
    process.stop()


def test_two_workers_share_one_audience(healthy: str, tmp_path: Path) -> None:
    flags = [*two_workers(), "--viewers", "50", "--reactions", "100", "--seconds", "5"]
    with locust(tmp_path, healthy, *flags) as popen:
        output, _ = popen.communicate(timeout=TIMEOUT_SECONDS)
    outcome = Outcome(popen.returncode, output, next(tmp_path.glob("2*/report.html")).parent)
    assert outcome.status == 0, output
    assert "50 viewers saw" in outcome.line
    assert len(outcome.run["clocks"]) == 2


def test_a_lost_worker_makes_the_run_invalid(healthy: str, tmp_path: Path) -> None:
    flags = [*two_workers(), "--viewers", "20", "--reactions", "40", "--seconds", "12"]
    lines = []
    with locust(tmp_path, healthy, *flags) as popen:
        assert popen.stdout is not None
        for line in popen.stdout:
            lines.append(line)
            if "All users spawned" in line:
                psutil.Process(popen.pid).children()[0].send_signal(signal.SIGKILL)
    assert popen.returncode == 1
    assert "the run is invalid" in "".join(lines)


def test_without_a_pipeline_it_says_so_and_fails(tmp_path: Path) -> None:
    url = f"http://{servers.HOST}:{servers.free_port()}"
    with locust(tmp_path, url) as popen:
        output, _ = popen.communicate(timeout=TIMEOUT_SECONDS)
    assert popen.returncode == 1
    assert f"{url}/v1/palette does not answer" in output
    assert "is the pipeline running" in output
