"""What the HTTP server holds of a request that it refuses."""

import asyncio
import gc
import io
from types import SimpleNamespace
from typing import Any

from emostream.runtime.http import Limits, RsgiApp, create_app
from emostream.runtime.readiness import Readiness

PIECE = b"x" * 40_000


class Protocol:
    """A client that sends pieces for ever, and notes the memory in use before each."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.status = 0

    def __aiter__(self) -> "Protocol":
        return self

    async def __anext__(self) -> bytes:
        bodies = [each for each in gc.get_objects() if isinstance(each, io.BytesIO) and not each.closed]
        self.held.append(sum(body.getvalue().count(PIECE) for body in bodies))
        return PIECE if len(self.held) < 5 else b""

    def response_bytes(self, status: int, *_: Any) -> None:
        self.status = status


def test_nothing_is_held_of_a_refused_body_while_its_client_sends_on() -> None:
    scope = SimpleNamespace(
        method="POST",
        path="/",
        http_version="1.1",
        headers={"host": "x", "content-length": str(10 * len(PIECE))},
    )
    protocol = Protocol()
    # Room for two pieces, beside the quarter for small bodies.
    limits = Limits(body_bytes=10 * len(PIECE), receiving_bytes=3 * len(PIECE))
    asyncio.run(RsgiApp(create_app("test", Readiness()), limits).__rsgi__(scope, protocol))
    assert protocol.status == 503
    assert protocol.held == [0, 1, 2, 0, 0]
