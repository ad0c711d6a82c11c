"""How long the page's scripts take a frame while an audience reacts: `python -m bench.page`.

The servers are real, but for Spark and ingest: swarms like those of such an audience are written straight to `swarms`,
so that on a small machine the browser is not measured by what the others leave it.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from emostream import palette
from emostream.aggregator.swarms import Compression
from emostream.config import KafkaSettings
from emostream.kafka import durable_producer
from emostream.local import topology
from emostream.local.servers import HOST
from emostream.local.supervisor import Supervisor
from emostream.local.topology import Layout, Ports
from emostream.model import SWARMS_TOPIC, Progress, Swarm, Window, encode, message_id
from tests.browser.chromium import Browser

TIERS = ("zookeeper", "kafka", "topics", "registry", "subscriber", "publisher", "ingest")
WARM_UP_SECONDS = 6


class Audience:
    """Writes a swarm each trigger, as a room of so many reactions a second gives it."""

    def __init__(self, kafka_address: str, per_second: int, trigger_ms: int, seed: int) -> None:
        self._producer = durable_producer(KafkaSettings(bootstrap_servers=(kafka_address,)))
        self._reactions = per_second * trigger_ms // 1000
        self._trigger_ms = trigger_ms
        self._random = random.Random(seed)
        self._compression = Compression(1_000, "ceil")
        self._sequence = 0
        self._totals: Counter[str] = Counter()

    def react_until(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._trigger_ms / 1000):
            self._producer.send(SWARMS_TOPIC, encode(self._next_swarm()), partition=0).get(10)
        self._producer.close()

    def _next_swarm(self) -> Swarm:
        weights = [self._random.random() ** 2 + 0.05 for _ in palette.DEFAULT]
        counts = dict(Counter(self._random.choices(palette.DEFAULT, weights, k=self._reactions)))
        self._sequence += 1
        self._totals.update(counts)
        now = int(time.time() * 1000)
        return Swarm(
            id=message_id("bench", self._sequence),
            sequence=self._sequence,
            window=Window(now - self._trigger_ms, now),
            reactions=self._reactions,
            counts=counts,
            swarm={emoji: self._compression.of(count) for emoji, count in counts.items()},
            totals=dict(self._totals),
            progress=Progress("bench", {}),
        )


def measure(page: str, seconds: float, profile: Path) -> dict[str, Any]:
    """What the page says of its frames, and Chromium of all the scripts that it ran, over so many seconds."""
    browser = Browser(profile)
    try:
        browser.resize(1280, 800)
        browser.execute_cdp_cmd("Performance.enable", {})
        browser.get(page)
        browser.wait_until(lambda: browser.execute_script("return emostream.swarm.particles > 0"), 60)
        time.sleep(WARM_UP_SECONDS)
        before = _counters(browser)
        time.sleep(seconds)
        after = _counters(browser)
        frames = browser.execute_script("return emostream.swarm.frameTimes()")
        particles = browser.execute_script("return emostream.swarm.particles")
    finally:
        browser.quit()
    drawn = after["frames"] - before["frames"]
    return {
        "frames a second": drawn / seconds,
        "particles": particles,
        "canvas, median (ms a frame)": frames["median"],
        "canvas, p99 (ms a frame)": frames["p99"],
        "all scripts, mean (ms a frame)": 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / drawn,
        "all scripts (% of one core)": 100 * (after["ScriptDuration"] - before["ScriptDuration"]) / seconds,
    }


def _counters(browser: Browser) -> dict[str, float]:
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return {each["name"]: each["value"] for each in metrics} | {
        "frames": browser.execute_script("return emostream.swarm.frames")
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
            audience = Audience(
                f"{HOST}:{layout.ports.kafka}", arguments.per_second, arguments.trigger_ms, arguments.seed
            )
            reacting = threading.Thread(target=audience.react_until, args=(is_over,))
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
