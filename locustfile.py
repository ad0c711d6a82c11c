"""The audience that drives EmoStream: `make load`, or `locust` and its web UI.

Everything is chosen by flags, which are fields of the web UI too: `locust --help` names them. emostream_lab/load/ is
the library behind it; docs/measuring.md says what it measures and how.
"""

from gevent import sleep
from gevent.pool import Pool
from locust import LoadTestShape, User, events, task

from emostream_lab.load import options, plugin
from emostream_lab.load.sender import Portion
from emostream_lab.load.viewer import Kind

# Of all reactions, those that come one by one; the others come in batches, as from apps that collect taps.
SINGLE_SHARE = 0.5
BATCH = 20
# Requests that one user has under way at most. Past it the next one waits, and its latency counts from when it was due.
MAX_OVERLAPPING = 64

events.init_command_line_parser.add_listener(options.add_to)
events.init.add_listener(plugin.install)


class CrowdPart(User):
    """Some of the crowd: sends its share of the reactions, each when it is due, whatever became of the ones before."""

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
    """Asks the registry, holds a stream, falls away and resumes."""

    abstract = True
    kind: Kind

    def on_start(self) -> None:
        self.viewer = plugin.generator(self.environment).viewer(self.kind)

    @task
    def watch(self) -> None:
        sleep(self.viewer.hold(sleep))


class SseViewer(AnyViewer):
    weight = 9
    kind = "sse"


class WebSocketViewer(AnyViewer):
    weight = 1
    kind = "ws"


class Audience(LoadTestShape):
    """How many there are at each time: what the chosen shape says, until the run is over."""

    def tick(self) -> tuple[int, float] | None:
        senders = SingleReactions.fixed_count + BatchedReactions.fixed_count
        return plugin.judge(self.runner.environment).tick(senders)
