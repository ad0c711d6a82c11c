"""Tests that Maven uses the proxy of the environment."""

import pytest

from emostream_lab.machine import jars


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
