"""Runs a child process with a readiness probe and a log file. The child ends when its parent ends."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emostream.errors import EmoStreamError

_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 25
_LOG_TAIL_COLUMNS = 300

# Settings for other installations of Spark or Python, and proxies. All processes here use our own installation and
# talk to this machine only.
_FOREIGN = re.compile(
    r"(SPARK|PYSPARK|HADOOP|YARN)_.*|PYTHON(PATH|HOME|IOENCODING)|CLASSPATH|(?i:(http|https|all)_proxy)"
)


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child: no settings for other installations, and UTF-8 for paths and logs."""
    kept = {name: value for name, value in environment.items() if not _FOREIGN.fullmatch(name)}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


class Process:
    """A child process.

    `probe` returns whether the child is ready; an OSError counts as not ready. `files`, the configuration, are written
    before each start.
    The child has its own session. So Ctrl-C in the terminal reaches only the parent, which then stops its children in
    order. The kernel kills the child when the thread that started it ends, for any reason. So start it from a thread
    that lives as long as the child.
    """

    def __init__(  # noqa: PLR0913 - each has a name at the call
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
        files: Mapping[Path, str] | None = None,
        probe: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self.environment = {**inherited_environment(os.environ), **(environment or {})}
        self._files = files or {}
        self._probe = probe
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int:
        """The process id. Raises EmoStreamError before the first start."""
        return self._started().pid

    def start(self) -> None:
        """Start the process, also again after it has ended. The new log follows the old one in the log file."""
        for path, content in self._files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._log_offset = log.tell()
            self._popen = subprocess.Popen(
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs.

        Raises EmoStreamError before the first start.
        """
        return self._started().poll()

    def is_ready(self) -> bool:
        if not self.is_running():
            return False
        try:
            return self._probe()
        except OSError:
            return False

    def wait_ready(self, timeout_seconds: float) -> None:
        """Wait until the process is ready.

        Raises EmoStreamError with the end of the log if the process ends or is not ready in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if not self.is_running():
                raise EmoStreamError(f"{self.name} ended with status {self.exit_status}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise EmoStreamError(f"{self.name} was not ready in {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout_seconds: float) -> int | None:
        """Return the exit status once the process has ended, or None if it still runs after this time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._started().wait(timeout_seconds)
        return None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, but not to its children."""
        self._started().send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM and do not wait. Harmless if the process has ended."""
        if self._popen is not None:
            self._popen.terminate()

    def stop(self, timeout_seconds: float = 10) -> None:
        """Send SIGTERM, and after the end or the time-out SIGKILL to the process and all its children.

        Harmless if the process has ended or was never started.
        """
        if self._popen is None:
            return
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def log_text(self) -> str:
        """Return the log since the last start."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def log_tail(self) -> str:
        """Return the last lines of `log_text`, with long lines cut."""
        lines = self.log_text().splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join(line[:_LOG_TAIL_COLUMNS] for line in lines) or "(it logged nothing)"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            raise EmoStreamError(f"{self.name} was not started")
        return self._popen
