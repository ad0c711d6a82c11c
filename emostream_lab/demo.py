"""The whole topology on this machine, with a simulated crowd, a live line of figures and, at the end, the account."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream.model import MAIN
from emostream_lab import switch
from emostream_lab.account import figures
from emostream_lab.audience import events
from emostream_lab.display import Display
from emostream_lab.machine import checkout, lan
from emostream_lab.processes import topology
from emostream_lab.processes.process import Process
from emostream_lab.processes.servers import HOST
from emostream_lab.processes.supervisor import Supervisor
from emostream_lab.processes.topology import Layout, Part

STATE_DIR = Path("build/demo")
_NEEDED_DISK_GB = 2


@dataclass(frozen=True)
class DemoOptions:
    """What the user asked for. `for_seconds` None: until Ctrl-C. `only` empty: everything, and the crowd.

    `events` counts the events that the crowd is spread over, `main` among them.
    """

    for_seconds: int | None = None
    reactions_per_second: int = 1_000
    viewers: int = 500
    only: tuple[str, ...] = ()
    keep: bool = False
    events: int = 1

    @property
    def has_crowd(self) -> bool:
        return not self.only and (self.reactions_per_second > 0 or self.viewers > 0)


def run(options: DemoOptions, layout: Layout) -> int:
    """Run the demo until it is over; returns the exit status: 0 unless the account at its end is not exact.

    Raises EmoStreamError where something stands in the way, with what to do.
    """
    parts = topology.parts(layout)
    zookeeper, kafka = topology.operator_settings(layout)
    attended = events.names("match", options.events)
    events.check_room(attended, kafka.max_record_bytes)
    if options.only:
        parts = topology.select(parts, options.only)
        if options.for_seconds:
            raise EmoStreamError("FOR needs the crowd, which ONLY leaves out: set one of the two.")
        if options.events > 1:
            raise EmoStreamError("EVENTS needs all tiers, and ONLY leaves some out: set one of the two.")
    with exclusive_use(layout.directory), stop_signals() as signals:
        _check_machine(layout.directory, parts)
        if not options.keep:
            shutil.rmtree(layout.directory, ignore_errors=True)
        layout.directory.mkdir(parents=True, exist_ok=True)
        _write_secret(layout)
        topology.write_certificates(layout)
        os.environ.update(topology.identity_settings(layout))
        display = Display(on_reader_gone=signals.stop)
        supervisor = Supervisor(parts, layout.directory / "topology.json", display.tell)
        try:
            display.tell(f"Starting {len(parts)} processes; their logs are in {layout.directory}.")
            supervisor.run_until(lambda: supervisor.all_ready() or signals.received)
            if signals.received:
                return 0
            supervisor.run_beside(lambda: events.open_all(zookeeper, kafka, attended), lambda: signals.received)
            if signals.received:
                return 0
            if options.events > 1:
                display.tell(f"The events {', '.join(attended)} are open.")
            if layout.has_tls:
                display.tell(_operators_instructions(layout))
            if layout.public_address != HOST:
                display.tell(_lan_instructions(layout))
            with switch.serving(layout.ports.switch, parts, layout.directory / "topology.json", layout.ports.registry):
                if not options.has_crowd:
                    display.tell(_ready_message(layout, parts) + " Ctrl-C stops everything.")
                    supervisor.run_until(lambda: signals.received)
                    return 0
                display.tell(_ready_message(layout, parts))
                figures_file = layout.directory / "crowd.json"
                audience = crowd(options, layout, figures_file, attended)
                return _run_crowd(audience, figures_file, supervisor, display, signals)
        finally:
            display.tell("Stopping.")
            supervisor.stop()


def _run_crowd(
    audience: Process, figures_file: Path, supervisor: Supervisor, display: Display, signals: "Signals"
) -> int:
    figures_file.unlink(missing_ok=True)
    audience.start()

    shown: figures.Figures | None = None

    def is_over() -> bool:
        nonlocal shown
        if (newest := figures.read(figures_file)) is not None and newest != shown:
            shown = newest
            display.live(figures.live_line(newest))
        return signals.received or not audience.is_running()

    try:
        supervisor.run_until(is_over)
        if signals.interrupted and audience.is_running():
            display.tell("The crowd stops, and its account follows. Press Ctrl-C again to stop everything at once.")
            audience.send_signal(signal.SIGINT)
            supervisor.run_until(lambda: signals.terminated or not audience.is_running())
    finally:
        audience.stop()
    account = figures.read(figures_file)
    if signals.received and (account is None or not account.is_final):
        # It was stopped before it had sent anything, or somebody does not want to wait for it.
        return 0
    if account is None or not account.is_final:
        raise EmoStreamError(f"the crowd ended with status {audience.exit_status}:\n{audience.log_tail()}")
    display.tell("\n" + figures.summary(account) + "\n")
    return 0 if account.is_exact else 1


def token_settings(directory: Path) -> dict[str, str]:
    """The settings with which only viewers with a token are let in. The page's viewers are guests."""
    secret_file = str((directory / "tokens.secret").absolute())
    return {"EMOSTREAM_TOKENS_SECRET_FILE": secret_file, "EMOSTREAM_TOKENS_GUESTS": "true"}


def _write_secret(layout: Layout) -> None:
    """Make the secret that signs the tokens, if they are wanted and there is none of the last run."""
    name = layout.settings.get("EMOSTREAM_TOKENS_SECRET_FILE")
    if name and not Path(name).exists():
        Path(name).write_text(secrets.token_urlsafe(32))


def crowd(options: DemoOptions, layout: Layout, figures_file: Path, attended: Sequence[str]) -> Process:
    """The simulated audience of these events as a process of its own, which leaves its figures in the file.

    It is not started yet.
    """
    command = [sys.executable, "-m", "emostream_lab", "crowd", "--figures-file", str(figures_file)]
    command += ["--crowd", str(options.reactions_per_second), "--viewers", str(options.viewers)]
    command += [word for event in attended if event != MAIN for word in ("--event", event)]
    if options.for_seconds:
        command += ["--for", str(options.for_seconds)]
    log_file = layout.directory / "logs" / "crowd.log"
    return Process("crowd", command, log_file=log_file, environment=topology.environment(layout))


def _lan_instructions(layout: Layout) -> str:
    url = f"http://{layout.public_address}:{layout.ports.registry}/"
    members = [port for cluster in layout.ports.subscribers for port in cluster]
    return (
        f"{lan.code(url)}\nScan it, or open {url} from any device of this network. Until the demo ends, ports "
        f"{layout.ports.ingest}, {layout.ports.registry} and {min(members)} to {max(members)} of this machine are open "
        "to everybody on it."
    )


def _operators_instructions(layout: Layout) -> str:
    settings = " ".join(f"{variable}={value!r}" for variable, value in topology.identity_settings(layout).items())
    return f"Every hop between the processes is closed. An operator's command needs: export {settings}"


def _ready_message(layout: Layout, parts: list[Part]) -> str:
    said = "Everything that you asked for is ready."
    if any(part.tier == "registry" for part in parts):
        page = f"http://{layout.public_address}:{layout.ports.registry}/"
        topology_page = f"http://{HOST}:{layout.ports.registry}/static/topology.html?lab={layout.ports.switch}"
        said = f"Everything is ready: open {page} to join in, or {topology_page} to see each process and to kill one."
    return f"{said} The graphs are at {graphs_url(layout)}." if layout.has_metrics else said


def graphs_url(layout: Layout) -> str:
    """The page of graphs, which Prometheus serves."""
    return f"http://{HOST}:{layout.ports.prometheus}/user/"


def _check_machine(directory: Path, parts: list[Part]) -> None:
    """Refuse what would fail later in a less clear way."""
    if taken := topology.ports_in_use(parts):
        ports = ", ".join(f"{port} ({part.name})" for port, part in taken)
        raise EmoStreamError(
            f"something else listens on port {ports}: stop it (`ss -ltnp` names it), and run `make demo` again."
        )
    free_gb = shutil.disk_usage(directory.parent).free / 1e9
    if free_gb < _NEEDED_DISK_GB:
        raise EmoStreamError(
            f"the disk of {directory.parent.resolve()} has {free_gb:.1f} GB free, and Kafka and Spark need "
            f"{_NEEDED_DISK_GB}: free some space, and run `make demo` again."
        )


@contextlib.contextmanager
def exclusive_use(directory: Path) -> Iterator[None]:
    """Two demos in one folder would delete each other's data.

    Raises EmoStreamError where another one has it, and where nothing could run in it.
    """
    lock_file = directory.with_suffix(".lock")
    checkout.check(directory.absolute(), [directory.parent, directory, lock_file])
    directory.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmoStreamError(f"another demo runs in {directory} already: stop that one first.") from None
        yield


class Signals:
    """Whether somebody asked this process to stop: `interrupted` by Ctrl-C, `terminated` in any other way."""

    interrupted = False
    terminated = False

    @property
    def received(self) -> bool:
        return self.interrupted or self.terminated

    def stop(self) -> None:
        """Do as after SIGTERM."""
        self.terminated = True

    def note(self, number: int, _: object) -> None:
        if self.received:
            # Asked twice: the children die with this process.
            os._exit(1)
        if number == signal.SIGINT:
            self.interrupted = True
        else:
            self.terminated = True


@contextlib.contextmanager
def stop_signals() -> Iterator[Signals]:
    """Note them in this block instead of ending at once. A hang-up that is ignored, as by `nohup`, stays ignored."""
    signals = Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
