"""The command and configuration of Centrifugo, a pub/sub server in Go.

The set-up of `make bench` builds it from its Go modules.
"""

import json
from pathlib import Path
from urllib.parse import quote

from emostream_lab.machine.bootstrap import CENTRIFUGO
from emostream_lab.processes.servers import HOST

CHANNEL = "swarms"
PUBLISH_PATH = "/api/publish"
_SUBSCRIPTION = "?cf_connect=" + quote(json.dumps({"subs": {CHANNEL: {}}}))
_STREAM, _WEBSOCKET = "/stream", "/ws"
STREAM_PATH, WEBSOCKET_PATH = _STREAM + _SUBSCRIPTION, _WEBSOCKET + _SUBSCRIPTION
ENVIRONMENT = {"GOMAXPROCS": "1"}
"""It has one core, so it runs one thread at a time."""

# Its fastest way to viewers: it sends and they only listen. Everybody may subscribe, and nothing is logged.
_CONFIGURATION = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}},
    "http_api": {"insecure": True},
    "uni_sse": {"enabled": True, "handler_prefix": _STREAM},
    "uni_websocket": {"enabled": True, "handler_prefix": _WEBSOCKET, "compression": True},
    "log": {"level": "error"},
    "usage_stats": {"disabled": True},
}


def command(directory: Path, port: int) -> list[str]:
    """Return the command that runs Centrifugo, and write its configuration to `directory`."""
    configuration = directory.absolute() / "centrifugo.json"
    configuration.write_text(json.dumps({**_CONFIGURATION, "http_server": {"address": HOST, "port": port}}))
    return [str(CENTRIFUGO), "--config", str(configuration)]
