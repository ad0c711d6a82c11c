"""Where a client gets its token: it is a text, or an asynchronous function that returns a new one."""

from collections.abc import Awaitable, Callable

TokenSource = str | Callable[[], Awaitable[str]]


async def newest(source: TokenSource | None) -> str | None:
    """Return the token of a source, or a new one if it gives more than one; None or empty if there is none."""
    return await source() if callable(source) else source
