"""Finds the network address of this machine for `make demo LAN=1`, and draws a QR code of the page's URL."""

import io
import ipaddress
import socket

import qrcode

from emostream.errors import EmoStreamError

# An address that is reserved for documentation (RFC 5737). Connecting a datagram socket to it sends nothing, but binds
# the socket to the address that the kernel would send from.
_ELSEWHERE = ("192.0.2.1", 9)


def address(setting: str) -> str:
    """Return the address to serve at: the IPv4 address `setting`, or for `1` this machine's address on its network.

    Raises EmoStreamError if `setting` is not an address, or this machine is on no network.
    """
    if setting != "1":
        try:
            return str(ipaddress.IPv4Address(setting))
        except ValueError:
            raise EmoStreamError(
                f"LAN={setting} is not an address: set LAN=1, or LAN to an IPv4 address of this machine."
            ) from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as error:
            raise EmoStreamError(
                f"this machine has no network ({error.strerror}): connect it, or name its address with LAN=…"
            ) from error
        found: str = probe.getsockname()[0]
        return found


def code(url: str) -> str:
    """Return the QR code of a URL, drawn with half blocks for a dark terminal."""
    picture = qrcode.QRCode(border=2)
    picture.add_data(url)
    drawn = io.StringIO()
    picture.print_ascii(out=drawn, invert=True)
    return drawn.getvalue()
