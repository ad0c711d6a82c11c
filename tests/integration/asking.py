"""Requests to our HTTP servers, over connections that end with the answer."""

import asyncio
from collections.abc import Sequence

from emostream.client import connection, http1
from emostream.client.http1 import Address, Response
from emostream_lab.processes.servers import HOST


def address(port: int, target: str) -> Address:
    return Address.of(f"http://{HOST}:{port}{target}")


def get(port: int, target: str, **headers: str) -> Response:
    """The answer to a GET. Underscores in header names become dashes. Raises OSError if there is no answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(port, http1.get(address(port, target), named))


def post(port: int, target: str, body: bytes) -> Response:
    """The answer to a POST of JSON."""
    return ask(port, http1.post_json(address(port, target), body))


def ask(port: int, request: bytes) -> Response:
    """The answer to any one request."""
    return ask_all(port, [request])[0]


def ask_all(port: int, requests: Sequence[bytes]) -> list[Response]:
    """The answers to requests that are sent at the same time, each on a connection of its own."""
    return asyncio.run(_ask_all(port, requests))


async def _ask_all(port: int, requests: Sequence[bytes]) -> list[Response]:
    return await asyncio.gather(*(connection.ask(address(port, "/"), request, 30) for request in requests))


def metric(port: int, name: str) -> float:
    """The value of a metric by its whole name, its labels among it."""
    lines = get(port, "/metrics").body.decode().splitlines()
    [value] = [line.split()[-1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def unreadiness(port: int) -> str:
    """Why the service is not ready; empty if it is."""
    answer = get(port, "/readyz")
    return "" if answer.status == 200 else answer.reason
