"""Measures how long the page's scripts take for a frame while an audience reacts: `python -m emostream_lab.bench.page`.

The servers are real, but Spark does not run and ingest gets no reactions. Swarms like those of such an audience are
written directly to the topic `swarms`. So on a small machine, Spark and ingest do not slow the browser.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from emostream_lab.bench.audience import Audience, to_kafka
from emostream_lab.machine.chromium import Browser
from emostream_lab.processes import topology
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Ports

TIERS = ("zookeeper", "kafka", "topics", "registry", "subscriber", "publisher", "ingest")
WARM_UP_SECONDS = 6
# Times each frame of the sky, and no other animation of the page.
TIME_FRAMES = """
window.frameTimesMs = [];
const request = requestAnimationFrame;
const frames = () => window.emostream?.tags[0].sky?.frames ?? 0;
window.requestAnimationFrame = (draw) => request((now) => {
  const before = frames();
  const startedAt = performance.now();
  draw(now);
  if (frames() > before) frameTimesMs.push(performance.now() - startedAt);
});
"""


def measure(page: str, seconds: float, profile: Path) -> dict[str, Any]:
    """Return the page's figures on its frames and Chromium's on all scripts of the page, over this many seconds."""
    browser = Browser(profile)
    try:
        browser.resize(1280, 800)
        browser.execute_cdp_cmd("Performance.enable", {})
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TIME_FRAMES})
        browser.get(page)
        browser.wait_until(lambda: browser.execute_script("return emostream.tags[0].sky?.particles > 0"), 60)
        time.sleep(WARM_UP_SECONDS)
        browser.execute_script("frameTimesMs.length = 0")
        before = _counters(browser)
        time.sleep(seconds)
        after = _counters(browser)
        frame_times_ms = browser.execute_script("return frameTimesMs")
        particles = browser.execute_script("return emostream.tags[0].sky.particles")
    finally:
        browser.quit()
    drawn = after["frames"] - before["frames"]
    return {
        "frames a second": drawn / seconds,
        "particles": particles,
        "canvas, median (ms a frame)": statistics.median(frame_times_ms),
        "canvas, p99 (ms a frame)": statistics.quantiles(frame_times_ms, n=100)[-1],
        "all scripts, mean (ms a frame)": 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / drawn,
        "all scripts (% of one core)": 100 * (after["ScriptDuration"] - before["ScriptDuration"]) / seconds,
    }


def _counters(browser: Browser) -> dict[str, float]:
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return {each["name"]: each["value"] for each in metrics} | {
        "frames": browser.execute_script("return emostream.tags[0].sky.frames")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=int, default=5_000, help="reactions of the audience")
    parser.add_argument("--seconds", type=float, default=20, help="how long to measure")
    parser.add_argument("--trigger-ms", type=int, default=2_000, help="time between swarms")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        layout = Layout(Path(scratch) / "state", Ports.free(clusters=1, subscribers_per_cluster=1))
        layout.directory.mkdir()
        parts = topology.select(topology.parts(layout), TIERS)
        supervisor = Supervisor(parts, layout.directory / "topology.json", print)
        is_over = threading.Event()
        try:
            supervisor.run_until(supervisor.all_ready)
            audience = Audience(arguments.per_second, arguments.trigger_ms, arguments.seed)
            write = to_kafka(f"{HOST}:{layout.ports.kafka}")
            reacting = threading.Thread(target=audience.react_until, args=(is_over, write))
            reacting.start()
            try:
                found = measure(f"http://{HOST}:{layout.ports.registry}/", arguments.seconds, Path(scratch) / "profile")
            finally:
                is_over.set()
                reacting.join()
        finally:
            supervisor.stop()
    print(f"\nThe page at {arguments.per_second:,} reactions a second, on a screen of 1280 × 800:")
    for name, value in found.items():
        print(f"  {name:<34}{value:>8.2f}")


if __name__ == "__main__":
    main()
