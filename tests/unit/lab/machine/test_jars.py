"""Tests that Maven uses the proxy of the environment."""

import subprocess
from pathlib import Path

import pytest

from emostream_lab.machine import jars, java


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, ""),
        ({"MAVEN_OPTS": "-Xmx1g"}, "-Xmx1g"),
        (
            {"https_proxy": "http://proxy.example:3128/", "no_proxy": "localhost, .example"},
            "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128 -Dhttp.nonProxyHosts=localhost|*.example "
            "-Daether.connector.http.useSystemProperties=true",
        ),
        (
            {"HTTPS_PROXY": "http://ada:s%40cret@proxy.example:3128"},
            "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128 -Dhttps.proxyUser=ada "
            "-Dhttps.proxyPassword=s@cret -Daether.connector.http.useSystemProperties=true",
        ),
        (
            {"https_proxy": "proxy.example"},
            "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=1080 -Daether.connector.http.useSystemProperties=true",
        ),
    ],
)
def test_maven_takes_the_proxy_of_the_environment(environment: dict[str, str], options: str) -> None:
    assert jars.maven_environment(environment)["MAVEN_OPTS"] == options


def test_maven_runs_with_the_proxy_and_the_java_of_the_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environments: list[dict[str, str]] = []

    def run(*_: object, env: dict[str, str], **__: object) -> subprocess.CompletedProcess[str]:
        environments.append(env)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(jars, "JARS", tmp_path)
    monkeypatch.setattr(jars.shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(jars.subprocess, "run", run)
    monkeypatch.setattr(java, "java_home", lambda: Path("/opt/java"))
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    jars._fetch("spark")
    [environment] = environments
    assert environment["JAVA_HOME"] == "/opt/java"
    assert "-Dhttps.proxyHost=proxy.example" in environment["MAVEN_OPTS"]
