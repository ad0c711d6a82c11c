"""The socket on which a process listens. It is held before anything else is done, and before anybody is told of it.

A second process at the same address ends here, so it never registers itself nor contends in an election. This also
makes an address a name: whoever holds it knows that an earlier holder, in the same place, is gone.
"""

import socket
from dataclasses import dataclass
from typing import Self

from emostream.config import AdminListener, PublicListener, address_of, url
from emostream.errors import EmoStreamError
from emostream.runtime import tls

_BACKLOG = 1_024


@dataclass(frozen=True)
class Listener:
    """A non-blocking socket that listens, and the URL that others are told. Closes the socket at the end of a block.

    `host` and `port` are what is bound, with the port that the system chose where the setting is 0.
    """

    socket: socket.socket
    host: str
    port: int
    url: str

    @property
    def address(self) -> str:
        """The `host:port` that is bound."""
        return address_of(url(self.host, self.port))

    @property
    def name(self) -> str:
        """The `host:port` by which others know it; where every address is bound, `address` would name no host."""
        return address_of(self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def listen_for_viewers(settings: PublicListener, backlog: int = _BACKLOG) -> Listener:
    """The public listener. Raises EmoStreamError where its address cannot be bound."""
    variables = f"{settings.variable('host')}, {settings.variable('port')}"
    bound = listen(settings.host, settings.port, backlog=backlog, variables=variables)
    return _listener(bound, settings.advertised_url)


def listen_for_operators(settings: AdminListener, port: int | None = None) -> Listener:
    """The admin listener, at the port of the settings by default. Raises EmoStreamError where it cannot be bound."""
    variables = f"{settings.variable('admin_host')}, {settings.variable('admin_port')}"
    bound = listen(settings.admin_host, settings.admin_port if port is None else port, variables=variables)
    return _listener(bound, settings.admin_advertised_url, tls.admin_scheme())


def _listener(bound: socket.socket, advertised_url: str, scheme: str = "http") -> Listener:
    host, port = bound.getsockname()[:2]
    return Listener(bound, host, port, advertised_url or url(host, port, scheme))


def listen(host: str, port: int, *, backlog: int = _BACKLOG, variables: str = "") -> socket.socket:
    """A non-blocking socket that listens at this IP address; connections wait in the backlog until they are accepted.

    `variables` names the settings that choose the address. Raises EmoStreamError where it cannot be bound.
    """
    try:
        # To bind every address of IPv6 is to bind those of IPv4 too, wherever the system allows it.
        if host == "::" and socket.has_dualstack_ipv6():
            listener = socket.create_server((host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=backlog)
    except (OSError, OverflowError) as error:
        remedy = f" ({variables})" if variables else ""
        reason = getattr(error, "strerror", None) or error
        raise EmoStreamError(
            f"{address_of(url(host, port))} cannot be bound ({reason}): stop what listens there, or choose another "
            f"address{remedy}."
        ) from error
    listener.setblocking(False)
    return listener
