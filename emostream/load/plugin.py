"""What makes a Locust process one of ours, once Locust knows which part it plays: master, worker, or all in one."""

from typing import Any

import locust.runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from emostream.load import panel
from emostream.load.generator import Generator
from emostream.load.judge import Judge

# The web UI's charts are as fresh as the workers' reports; Locust's default is 3 s.
_REPORT_SECONDS = 1.0
# Seconds of silence after which a worker is lost, and the run with it. Locust's default is 3, which a worker that
# connects a thousand viewers at once on a busy machine can need.
_LIVENESS_SECONDS = 10


def install(environment: Environment, **_: Any) -> None:
    """Listens to Locust's `init`."""
    locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
    locust.runners.HEARTBEAT_LIVENESS = _LIVENESS_SECONDS
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
