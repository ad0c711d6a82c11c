"""Blocking work beside an event loop: a thread whose end, or error, the loop learns of."""

import asyncio
import contextvars
import threading
from collections.abc import Callable


def run_in_thread(name: str, function: Callable[[], None]) -> "asyncio.Future[None]":
    """Run it in a thread that does not hold up the process's end; the future has its end, or its error."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run_and_tell() -> None:
        error = None
        try:
            function()
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, error)

    # In a copy of this context, so that its log lines carry the same names.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run_and_tell,), name=name, daemon=True).start()
    return ended
