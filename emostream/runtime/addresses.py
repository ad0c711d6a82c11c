"""The address of a client, also behind proxies. Pure."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A provider gives a household this much of IPv6, so each of its addresses counts as the same client.
_IPV6_PREFIX = 64


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address by which a client is counted.

    `peer` is who connected. If that is one of our proxies, it has written its own client at the end of
    `X-Forwarded-For`. What stands before that is written by anybody, unless the client is one of our proxies too.
    """
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    address = _parse(peer)
    while hops and address is not None and any(address in network for network in trusted):
        nearer = _parse(hops.pop())
        if nearer is None:
            break
        address = nearer
    return peer if address is None else _counted(address)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _counted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
