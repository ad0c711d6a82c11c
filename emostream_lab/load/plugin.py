"""What makes a Locust process one of ours, once Locust knows which part it plays: master, worker, or all in one."""

from functools import cache
from typing import Any

import locust.argument_parser
import locust.runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from emostream_lab.load import panel
from emostream_lab.load.generator import Generator
from emostream_lab.load.judge import Judge

# The web UI's charts are as fresh as the workers' reports; Locust's default is 3 s.
_REPORT_SECONDS = 1.0
# Seconds of silence after which a worker is lost, and the run with it. Locust's default is 3, which a worker that
# connects a thousand viewers at once on a busy machine can need.
_LIVENESS_SECONDS = 10


def install(environment: Environment, **_: Any) -> None:
    """Listens to Locust's `init`."""
    locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
    locust.runners.HEARTBEAT_LIVENESS = _LIVENESS_SECONDS
    # A worker asks for these once for each option of each spawn message, and building its parser again for every one
    # takes half a second of CPU time: viewers that come over ten seconds would find it busy for five of them.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    if not isinstance(environment.runner, MasterRunner):
        environment.emostream_generator = Generator(environment)
    if not isinstance(environment.runner, WorkerRunner):
        environment.emostream_judge = Judge(environment)
        panel.install(environment, environment.emostream_judge)


def generator(environment: Environment) -> Generator:
    """That of a process which has users."""
    found: Generator = environment.emostream_generator
    return found


def judge(environment: Environment) -> Judge:
    """That of the process which has the last word."""
    found: Judge = environment.emostream_judge
    return found
