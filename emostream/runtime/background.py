"""Blocking work in a thread of its own, which does not hold up the process's end."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(name: str, function: Callable[[], T]) -> Future[T]:
    """Run it in a thread; the future has what it returns, or its error."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    _start(name, run)
    return done


def run_in_thread(name: str, function: Callable[[], None]) -> "asyncio.Future[None]":
    """Run it in a thread beside this event loop; the future has its end, or its error."""
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

    _start(name, run_and_tell)
    return ended


def _start(name: str, function: Callable[[], None]) -> None:
    # In a copy of this context, so that its log lines carry the same names.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(function,), name=name, daemon=True).start()
