"""The kernel's settings, as the role writes them."""

from emostream_lab.roles import rendered


def test_each_setting_is_a_line_that_a_container_may_refuse() -> None:
    settings = {"vm.swappiness": 1, "net.ipv4.ip_local_port_range": "16384 65535"}
    lines = rendered("base/templates/sysctl.conf.j2", base_sysctls=settings).splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        "-net.ipv4.ip_local_port_range = 16384 65535",
        "-vm.swappiness = 1",
    ]
