"""The socket on which a process listens. It is held before anything else is done, and before anybody is told of it.

A second process at the same address ends here, so it never announces itself nor contends in an election. This also
makes an address a name: whoever holds it knows that an earlier holder, in the same place, is gone.
"""

import socket

from emostream.errors import EmoStreamError


def listen(host: str, port: int, *, backlog: int = 1_024, variables: str = "") -> socket.socket:
    """A non-blocking socket that listens at this IP address; connections wait in the backlog until they are accepted.

    `variables` names the settings that choose the address. Raises EmoStreamError where it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        remedy = f" ({variables})" if variables else ""
        raise EmoStreamError(
            f"{host}:{port} cannot be bound ({error.strerror}): end what listens there, or choose another "
            f"address{remedy}."
        ) from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """Its `host:port`, with the port that the system chose where the setting is 0."""
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"
