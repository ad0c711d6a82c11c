"""Simulates an audience of EmoStream with Locust: run `make load`, or `locust` for its web UI.

All options are flags, and also fields of the web UI: see `locust --help`. The code is in emostream_lab/load/.
docs/measuring.md says what is measured and how.
"""

from gevent import sleep
from gevent.pool import Pool
from locust import LoadTestShape, User, events, task
from locust.exception import StopUser

from emostream.client.session import Kind
from emostream_lab.load import options, plugin
from emostream_lab.load.sender import Portion

# The share of the reactions that come one by one. The others come in batches, as from apps that collect taps.
SINGLE_SHARE = 0.5
BATCH = 20
# The most requests that one user has in flight. The next one waits, and its latency still counts from its due time.
MAX_OVERLAPPING = 64

events.init_command_line_parser.add_listener(options.add_to)
events.init.add_listener(plugin.install)


class CrowdPart(User):
    """A user that sends a share of the crowd's reactions: each request when it is due, even if others are open."""

    abstract = True
    portion: Portion

    def on_start(self) -> None:
        self.sender = plugin.generator(self.environment).sender(self.portion)
        self.requests = Pool(MAX_OVERLAPPING)

    @task
    def react(self) -> None:
        self.sender.send_all(self.requests.spawn)
        sleep(0.1)


class SingleReactions(CrowdPart):
    fixed_count = 8
    portion = Portion(SINGLE_SHARE / fixed_count, batch=1)


class BatchedReactions(CrowdPart):
    fixed_count = 4
    portion = Portion((1 - SINGLE_SHARE) / fixed_count, batch=BATCH)


class AnyViewer(User):
    """A viewer that asks the registry, reads a stream, leaves and resumes."""

    abstract = True
    kind: Kind

    def on_start(self) -> None:
        self.viewer = plugin.generator(self.environment).viewer(self.kind)

    @task
    def watch(self) -> None:
        away_seconds = self.viewer.hold(sleep)
        if away_seconds is None:
            raise StopUser
        sleep(away_seconds)


class SseViewer(AnyViewer):
    weight = 9
    kind = "sse"


class WebSocketViewer(AnyViewer):
    weight = 1
    kind = "ws"


class Audience(LoadTestShape):
    """Sets the number of users at each time, as the chosen shape says, until the run is over."""

    def tick(self) -> tuple[int, float] | None:
        senders = SingleReactions.fixed_count + BatchedReactions.fixed_count
        return plugin.judge(self.runner.environment).tick(senders)
