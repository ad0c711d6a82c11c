"""A client is who connected, unless one of our own proxies says that it is somebody else."""

import ipaddress

import pytest

from emostream.runtime.addresses import client_address

PROXIES = [ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::1")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        # What a client writes is believed from nobody but a proxy.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1,10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "junk", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, junk", "10.0.0.1"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:5::6]", None, "2001:db8:1:2::/64"),
        ("", None, ""),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded_for: str | None, address: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == address
