"""How the tests are divided among the workers of `make test`."""

from pathlib import Path

from tests.conftest import SPARK_GROUPS, group_of

ROOT = Path(__file__).parents[2]


def test_the_tests_of_a_file_stay_together() -> None:
    assert group_of("tests/integration/test_http.py::test_a[1]") == group_of("tests/integration/test_http.py::test_b")
    assert group_of("tests/integration/test_http.py::test_a") != group_of("tests/integration/test_kafka.py::test_a")


def test_no_more_than_three_files_start_spark_at_the_same_time() -> None:
    assert len({group_of(f"{file}::test") for file in SPARK_GROUPS}) == 3
    assert all((ROOT / file).exists() for file in SPARK_GROUPS)


def test_the_files_of_the_deployment_stay_together_in_their_order() -> None:
    files = sorted((ROOT / "tests" / "deployment").glob("test_*.py"))
    assert len({group_of(f"tests/deployment/{file.name}::test") for file in files}) == 1
