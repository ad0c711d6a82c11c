"""Sets up a Locust process for our runs, once Locust knows its role: master, worker or single process."""

from functools import cache
from typing import Any

import locust.argument_parser
import locust.runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from emostream_lab.load import panel
from emostream_lab.load.generator import Generator
from emostream_lab.load.judge import Judge

# The web UI's charts are as fresh as the workers' reports. Locust's default is 3 s.
_REPORT_SECONDS = 1.0
# A worker that is silent for this many seconds is lost, and the run is invalid. Locust's default is 3. A worker that
# connects a thousand viewers at once on a busy machine can be silent that long.
_LIVENESS_SECONDS = 10


def install(environment: Environment, **_: Any) -> None:
    """Handle Locust's `init` event."""
    locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
    locust.runners.HEARTBEAT_LIVENESS = _LIVENESS_SECONDS
    # A worker calls this function once for each option of each spawn message, and each call builds a parser again. One
    # message costs half a second of CPU time: if viewers come over ten seconds, the worker is busy for five of them.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    if not isinstance(environment.runner, MasterRunner):
        environment.emostream_generator = Generator(environment)
    if not isinstance(environment.runner, WorkerRunner):
        environment.emostream_judge = Judge(environment)
        panel.install(environment, environment.emostream_judge)


def generator(environment: Environment) -> Generator:
    """Return the generator of a process that has users."""
    found: Generator = environment.emostream_generator
    return found


def judge(environment: Environment) -> Judge:
    """Return the judge, which the master or the single process has."""
    found: Judge = environment.emostream_judge
    return found
