"""Tests which variables of the environment a child process inherits."""

from pathlib import Path

import pytest

from emostream_lab.processes import servers, topology
from emostream_lab.processes.process import inherited_environment
from emostream_lab.processes.topology import Layout

FOREIGN = {
    "SPARK_HOME": "/opt/spark",
    "SPARK_CONF_DIR": "/opt/spark/conf",
    "PYSPARK_SUBMIT_ARGS": "--master yarn",
    "HADOOP_CONF_DIR": "/etc/hadoop",
    "PYTHONPATH": "/opt/spark/python",
    "PYTHONIOENCODING": "latin-1",
    "http_proxy": "http://proxy:3128",
    "HTTPS_PROXY": "http://proxy:3128",
}


def test_settings_of_other_installations_reach_no_child() -> None:
    assert inherited_environment({**FOREIGN, "HOME": "/home/ada", "LC_ALL": "en_US.ISO-8859-1"}) == {
        "HOME": "/home/ada",
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
    }


def test_every_process_gets_the_java_and_the_spark_of_this_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**FOREIGN, "JAVA_HOME": "/opt/java-8"}.items():
        monkeypatch.setenv(name, value)
    servers.java_home.cache_clear()
    for part in topology.parts(Layout(tmp_path)):
        environment = part.process.environment
        assert environment.get("SPARK_HOME", str(servers.spark_home())) == str(servers.spark_home()), part.name
        if part.tier in {"spark", "aggregator"}:
            assert environment["JAVA_HOME"] == str(servers.java_home())
            assert environment["SPARK_HOME"] == str(servers.spark_home())
        assert "http_proxy" not in environment
