"""`emostream status`: the topology as a table, and what is missing in it."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from emostream import model
from emostream.client import connection
from emostream.client.errors import NoAnswerError
from emostream.config import ClientSettings
from emostream.errors import EmoStreamError
from emostream.registry.topology import TopologyView

_ANSWER_TIMEOUT_SECONDS = 5.0
_Row = tuple[str, str, str, str]


async def fetch(
    registry_url: str,
    variable: str = ClientSettings.variable("registry_url"),
    context: ssl.SSLContext | None = None,
) -> TopologyView:
    """Ask a listener of the registry, which `variable` sets; the public one tells no addresses of services.

    `context` is for the admin listener, where it speaks TLS. Raises EmoStreamError when it does not answer.
    """
    try:
        response = await connection.fetch(f"{registry_url}/v1/topology", _ANSWER_TIMEOUT_SECONDS, context)
        return model.decode(response.body, TopologyView)
    except (NoAnswerError, msgspec.DecodeError) as error:
        raise EmoStreamError(
            f"the registry at {registry_url} does not answer ({error}); is emostream-registry.service active, and is "
            f"{variable} right?"
        ) from error


def table(view: TopologyView) -> str:
    """One line a process, in columns."""
    rows: list[_Row] = [("TIER", "NAME", "STATE", "ADDRESS")]
    rows += [
        (service.tier, service.name, "leads" if service.leader else "", service.url or "") for service in view.services
    ]
    for subscriber in view.subscribers:
        state = f"{subscriber.clients}/{subscriber.capacity} viewers"
        if subscriber.pending:
            state += f", {subscriber.pending} on their way"
        rows.append(("subscriber", subscriber.name, state, subscriber.url))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def problems(view: TopologyView, clusters: Sequence[str]) -> list[str]:
    """What is needed and missing, a sentence each; empty when all is there. `clusters` are those there should be."""
    found = []
    if view.stale_since is not None:
        since = datetime.fromtimestamp(view.stale_since / 1_000, UTC)
        found.append(f"The registry has not reached ZooKeeper since {since:%H:%M:%S} UTC; this is its last view.")
    if not any(service.tier == "ingest" for service in view.services):
        found.append("No ingest is running: nobody can react.")
    if not any(service.tier == "aggregator" and service.leader for service in view.services):
        found.append("No aggregator leads: reactions wait in Kafka.")
    relayed = {
        service.name.partition("@")[0] for service in view.services if service.tier == "publisher" and service.leader
    }
    watched = {subscriber.cluster for subscriber in view.subscribers}
    for cluster in clusters:
        if cluster not in relayed:
            found.append(f"No publisher leads for {cluster}: its viewers see no new swarms.")
        if cluster not in watched:
            found.append(f"No subscriber of {cluster} is running: viewers are sent to the other clusters.")
    if view.subscribers and all(each.clients + each.pending >= each.capacity for each in view.subscribers):
        found.append("Every subscriber is full: raise EMOSTREAM_SUBSCRIBER_CAPACITY, or add subscribers.")
    return found
