"""The Python client: watches swarms without gaps or repeats, sends reactions, and reports their outcome.

What is imported here is for applications, and docs/clients.md shows how to use it. It runs on asyncio.

These modules are pure and work with any event loop: session, which has all that a viewer decides; watcher, reconnect,
streams, sse, http1 and outcome. These need asyncio: connection, service, viewer, reactions. Locust's viewers and
senders, in emostream_lab.load, are other shells around the same pure modules.
"""

from emostream.client.errors import NoEventError
from emostream.client.outcome import Accepted, Outcome, Refused, Unknown
from emostream.client.reactions import ReactionSender
from emostream.client.service import OpenEvent, fetch_events, fetch_ingest_url, fetch_palette
from emostream.client.viewer import Connecting, Ended, Live, Viewer, ViewerState, Waiting
from emostream.errors import EmoStreamError
from emostream.model import End, Reaction, Record, Reset, Snapshot, Swarm, ViewerMessage, Window

__all__ = [
    "Accepted",
    "Connecting",
    "EmoStreamError",
    "End",
    "Ended",
    "Live",
    "NoEventError",
    "OpenEvent",
    "Outcome",
    "Reaction",
    "ReactionSender",
    "Record",
    "Refused",
    "Reset",
    "Snapshot",
    "Swarm",
    "Unknown",
    "Viewer",
    "ViewerMessage",
    "ViewerState",
    "Waiting",
    "Window",
    "fetch_events",
    "fetch_ingest_url",
    "fetch_palette",
]
