"""Spark's configuration: what it must contain, and that its secret is never visible."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pyspark
import pytest

from emostream.aggregator import session
from emostream.config import AggregatorSettings
from emostream.errors import EmoStreamError


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    directory = tmp_path / "jars"
    directory.mkdir()
    (directory / "connector.jar").touch()
    return directory


def settings(jars: Path, **more: object) -> AggregatorSettings:
    return AggregatorSettings.model_validate({"connector_jars_dir": str(jars), "work_dir": str(jars.parent), **more})


def test_a_driver_leaves_cores_for_its_successor(jars: Path) -> None:
    assert session.configuration(settings(jars, cores=2))["spark.cores.max"] == 2


def test_a_missing_connector_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_AGGREGATOR_CONNECTOR_JARS_DIR"):
        session.configuration(settings(tmp_path))


def test_a_missing_secret_stops_the_start(jars: Path) -> None:
    with pytest.raises(EmoStreamError, match="EMOSTREAM_AGGREGATOR_SPARK_SECRET_FILE"):
        session.configuration(settings(jars, spark_secret_file=str(jars / "none")))


def test_the_secret_is_in_a_file_that_nobody_else_reads(jars: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    directory = session.write_configuration(settings(jars, spark_secret_file=str(tmp_path / "secret")), logs_text=False)
    defaults = directory / "spark-defaults.conf"
    assert "spark.authenticate.secret hush\n" in defaults.read_text()
    assert stat.S_IMODE(defaults.stat().st_mode) == 0o600


def test_each_start_has_the_port_after_that_of_the_start_before(jars: Path) -> None:
    def start(first: int) -> int:
        properties = session.write_configuration(settings(jars, driver_port=first), logs_text=False)
        lines = (properties / "spark-defaults.conf").read_text().splitlines()
        (port,) = (line.removeprefix("spark.driver.port ") for line in lines if line.startswith("spark.driver.port "))
        return int(port)

    assert [start(7090) for _ in range(11)] == [*range(7090, 7100), 7090]
    # Another range begins with its first one.
    assert [start(7101) for _ in range(2)] == [7101, 7102]
    assert [start(0) for _ in range(2)] == [0, 0]


def test_a_start_after_a_power_cut_has_the_first_port(jars: Path) -> None:
    properties = session.write_configuration(settings(jars, driver_port=7090), logs_text=False)
    # What was written last may be lost.
    (properties / "spark-defaults.conf").write_text("")
    assert session.configuration(settings(jars, driver_port=7090))["spark.driver.port"] == 7090


def test_only_a_driver_that_plans_is_compiled_for_a_quick_start(jars: Path) -> None:
    quick = "-XX:TieredStopAtLevel=1"
    key = "spark.driver.extraJavaOptions"
    assert quick in str(session.configuration(settings(jars))[key])
    assert quick not in str(session.configuration(settings(jars, spark_master="local[2]"))[key])


def test_a_driver_that_counts_is_compiled_like_executors(jars: Path) -> None:
    found = session.configuration(settings(jars, spark_master="local[2]", executor_compiler="quick"))
    assert "-XX:TieredStopAtLevel=1" in str(found["spark.driver.extraJavaOptions"])


def test_executors_are_compiled_for_a_quick_start_where_that_is_asked_for(jars: Path) -> None:
    key = "spark.executor.extraJavaOptions"
    assert "TieredStopAtLevel" not in str(session.configuration(settings(jars))[key])
    assert "TieredStopAtLevel" in str(session.configuration(settings(jars, executor_compiler="quick"))[key])


def test_driver_and_executors_use_the_class_archive_that_is_set(jars: Path) -> None:
    for key in ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"):
        assert "SharedArchiveFile" not in str(session.configuration(settings(jars))[key])
        options = str(session.configuration(settings(jars, class_archive="/var/my cache/spark.jsa"))[key])
        assert '"-XX:SharedArchiveFile=/var/my cache/spark.jsa"' in options


def test_libraries_are_unpacked_in_folders_of_our_own(jars: Path, tmp_path: Path) -> None:
    # /tmp, the default, may be mounted without the right to execute.
    found = session.configuration(settings(jars))
    assert f'"-Djava.io.tmpdir={tmp_path}/unpacked"' in str(found["spark.driver.extraJavaOptions"])
    assert '"-Djava.io.tmpdir=."' in str(found["spark.executor.extraJavaOptions"])
    session.write_configuration(settings(jars), logs_text=False)
    assert (tmp_path / "unpacked").is_dir()


def test_settings_of_another_spark_do_not_reach_ours(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"SPARK_HOME": "/opt/spark", "SPARK_CONF_DIR": "/opt/spark/conf", "PYSPARK_SUBMIT_ARGS": "--master yarn"}
    monkeypatch.setattr(os, "environ", {**os.environ, **other})
    started: dict[str, str] = {}
    builder = SimpleNamespace(getOrCreate=lambda: started.update(os.environ))
    monkeypatch.setattr(session, "SparkSession", SimpleNamespace(builder=builder))
    session.start(settings(jars), logs_text=False)
    assert started["SPARK_HOME"] == str(Path(pyspark.__file__).parent)
    assert "SPARK_CONF_DIR" not in started
    assert "yarn" not in started["PYSPARK_SUBMIT_ARGS"]
