"""What a client asks a service before it sends or watches: the address of ingest, the palette, and the open events."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar

import msgspec

from emostream import model
from emostream.client.connection import fetch
from emostream.client.errors import NoAnswerError, NoEventError
from emostream.client.http1 import Response
from emostream.errors import EmoStreamError

_ANSWER_TIMEOUT_SECONDS = 10.0

T = TypeVar("T")


class OpenEvent(msgspec.Struct, frozen=True):
    """An event that is open and listed. `reactions` are all so far, `viewers` those that watch now."""

    event: str
    title: str
    viewers: int
    reactions: int
    reactions_per_second: float


async def fetch_ingest_url(registry_url: str) -> str:
    """Ask the registry where reactions are sent. Raises EmoStreamError if it does not answer."""
    settings = await _ask(f"{registry_url}/v1/config", _Settings)
    # Where one address serves both, it is not told.
    return settings.ingest_url or registry_url


async def fetch_events(registry_url: str) -> Sequence[OpenEvent]:
    """Ask the registry for the events that are open and listed. Raises EmoStreamError if it does not answer."""
    return (await _ask(f"{registry_url}/v1/events", _Events)).events


async def fetch_palette(ingest_url: str, event: str = model.MAIN) -> Sequence[str]:
    """Ask ingest for the emoji that the event allows. A closed event has none.

    Raises NoEventError if there is no such event, or EmoStreamError if ingest does not answer.
    """
    url = f"{ingest_url}{model.event_path(event)}/palette"
    response = await _get(url)
    if response.refused_event == event and response.status == HTTPStatus.GONE:
        return []
    if response.refused_event == event and response.status == HTTPStatus.NOT_FOUND:
        raise NoEventError(event)
    return _decoded(url, response, model.Palette).emoji


class _Settings(msgspec.Struct):
    ingest_url: str


class _Events(msgspec.Struct):
    events: list[OpenEvent]


async def _ask(url: str, type_: type[T]) -> T:
    return _decoded(url, await _get(url), type_)


async def _get(url: str) -> Response:
    try:
        return await fetch(url, _ANSWER_TIMEOUT_SECONDS)
    except NoAnswerError as error:
        raise EmoStreamError(
            f"{url} does not answer ({error}): is the service running, and the address right?"
        ) from error


def _decoded(url: str, response: Response, type_: type[T]) -> T:
    try:
        if response.status == HTTPStatus.OK:
            return model.decode(response.body, type_)
    except msgspec.DecodeError as error:
        raise EmoStreamError(f"{url} gives another answer than EmoStream's ({error}): is the address right?") from error
    raise EmoStreamError(f"{url} refuses: {response.reason}")
