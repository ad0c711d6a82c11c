"""Every JVM of a pipeline has its archive of classes in memory: none was refused for its version or its class path."""

from pathlib import Path

import psutil
import pytest

from emostream_lab.machine import class_archives
from emostream_lab.processes import servers
from tests.conftest import running
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]


def _uses(process: psutil.Process, name: str) -> bool:
    return str(class_archives.path(name)) in Path(f"/proc/{process.pid}/maps").read_text()


def _java_below(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "java"]


def test_the_jvms_of_a_pipeline(pipeline: Pipeline) -> None:
    for name in ("zookeeper", "kafka"):
        assert _uses(psutil.Process(pipeline.part(name).process.pid), name)
    [driver] = _java_below(pipeline.part("aggregator").process.pid)
    assert _uses(driver, "spark")


def test_sparks_master_and_worker(tmp_path: Path) -> None:
    port = servers.free_port()
    with running(servers.spark_master(tmp_path, port), port) as master:
        worker = servers.spark_worker(tmp_path, port, cores=1, memory_mib=512)
        with running(worker, port):
            assert _uses(psutil.Process(master.process.pid), "spark")
            assert _uses(psutil.Process(worker.pid), "spark")
