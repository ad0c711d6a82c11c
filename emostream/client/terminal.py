"""The terminal client: swarms fly over the screen, keys send reactions, and the bottom line shows the state."""

import asyncio
import contextlib
import os
import random
import secrets
import select
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import click
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.events import Key
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from emostream import model
from emostream.client.errors import NoEventError
from emostream.client.outcome import Accepted, Outcome, Refused
from emostream.client.reactions import ReactionSender
from emostream.client.service import fetch_palette
from emostream.client.sky import Sky
from emostream.client.viewer import Connecting, Ended, Live, Viewer, ViewerState, Waiting
from emostream.config import ClientSettings
from emostream.errors import EmoStreamError
from emostream.runtime.background import run_in_thread
from emostream.runtime.output import can_rewrite
from emostream.tokens.own import OwnTokens

KEYS = "123456789abcdefghijklmnoprstuvwxyz"  # without q, which quits

_FRAMES_PER_SECOND = 15
_TOTALS_SHOWN = 6


def run(settings: ClientSettings, user_id: str | None, event: str, *, as_json: bool) -> int:
    """Show the swarms of an event until it ends or the user quits, and return the exit status.

    Raises EmoStreamError if there is no such event, if ingest does not answer, or if the terminal cannot draw.
    """
    user_id = user_id or f"terminal-{secrets.token_hex(4)}"
    if as_json:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_print_messages(settings, user_id, event))
        return 0
    if not can_rewrite():
        raise EmoStreamError("swarms can be drawn on a terminal alone, and not with TERM=dumb: `--json` prints them.")
    app = TerminalClient(settings, user_id, event, asyncio.run(_palette(settings, event)))
    ended = app.run()
    if ended is not None:
        totals = _leaders(ended.totals, len(ended.totals)) or "nobody reacted"
        click.echo(f"The event {event} has ended: {totals}")
    return app.return_code or 0


async def _palette(settings: ClientSettings, event: str) -> Sequence[str]:
    try:
        return await fetch_palette(settings.ingest_url, event)
    except NoEventError:
        raise
    except EmoStreamError as error:
        raise EmoStreamError(f"{error} {settings.variable('ingest_url')} sets the address.") from error


async def _print_messages(settings: ClientSettings, user_id: str, event: str) -> None:
    """Print each message as one line of UTF-8 JSON, for scripts, until the event ends or the reader is gone."""
    output = sys.stdout.fileno()
    viewer = Viewer(
        settings.registry_url,
        user_id,
        event=event,
        on_message=lambda message: _write_line(output, message),
        token=OwnTokens.load().source(user_id, "watch"),
    )
    watching = asyncio.create_task(viewer.run())
    unread = run_in_thread("output", partial(_wait_until_unread, output))
    await asyncio.wait((watching, unread), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
        await watching


def _write_line(output: int, message: model.ViewerMessage) -> None:
    line = memoryview(model.encode(message) + b"\n")
    while line:
        line = line[os.write(output, line) :]


def _wait_until_unread(output: int) -> None:
    """Return once the reader of this pipe is gone. A write would show that too, but a quiet stream does not write."""
    poll = select.poll()
    # With an empty mask, poll reports only errors, such as a pipe without a reader.
    poll.register(output, 0)
    poll.poll()


class SkyView(Widget):
    """Draws the flying emoji, one line of text at a time."""

    def __init__(self, sky: Sky) -> None:
        super().__init__()
        self._sky = sky
        self._lines: dict[int, dict[int, str]] = {}

    def on_mount(self) -> None:
        self.set_interval(1 / _FRAMES_PER_SECOND, self._draw)

    def render_line(self, y: int) -> Strip:
        text, column = "", 0
        for start, emoji in sorted(self._lines.get(y, {}).items()):
            if start < column:
                continue
            text += " " * (start - column) + emoji
            column = start + 2
        return Strip([Segment(text)]).adjust_cell_length(self.size.width)

    def _draw(self) -> None:
        lines: dict[int, dict[int, str]] = {}
        for row, column, emoji in self._sky.positions(time.monotonic(), self.size.width, self.size.height):
            lines.setdefault(row, {})[column] = emoji
        if lines or self._lines:
            self._lines = lines
            self.refresh()


class TerminalClient(App[Ended]):
    """The app: the sky, the totals, the keys, and the state line. It returns the end of the event."""

    CSS = """
    SkyView { height: 1fr; }
    #totals, #keys, #state { height: auto; padding: 0 1; }
    #state { background: $panel; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [("q", "quit", "Quit"), ("escape", "quit", "Quit")]

    def __init__(self, settings: ClientSettings, user_id: str, event: str, palette: Sequence[str]) -> None:
        super().__init__()
        self._user_id = user_id
        self._event = event
        self._emoji_by_key = dict(zip(KEYS, palette, strict=False))
        self._sky = Sky(random.random)
        token = OwnTokens.load().source(user_id, "react", "watch")
        self._viewer = Viewer(
            settings.registry_url,
            user_id,
            event=event,
            on_message=self._take,
            on_state=self._on_viewer_state,
            token=token,
        )
        # A guest has the token that came with the assignment.
        self._sender = ReactionSender(settings.ingest_url, event=event, token=token or self._viewer.token)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connection_text = "connecting"
        self._reaction_text = ""
        self._is_shown = False

    def compose(self) -> ComposeResult:
        yield SkyView(self._sky)
        yield Static(id="totals", markup=False)
        yield Static("  ".join(f"{key} {emoji}" for key, emoji in self._emoji_by_key.items()), id="keys", markup=False)
        yield Static(id="state", markup=False)

    def on_mount(self) -> None:
        self._is_shown = True
        self._begin(self._viewer.run())
        self._show()

    async def on_unmount(self) -> None:
        self._is_shown = False
        for task in self._tasks:
            task.cancel()
        await self._sender.__aexit__()

    def on_key(self, event: Key) -> None:
        emoji = self._emoji_by_key.get(event.key)
        if emoji is not None:
            self._begin(self._react(emoji))

    def _begin(self, work: Coroutine[None, None, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Quit with a message if a task failed. Otherwise the screen would stop without a reason."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            reason = str(error) if isinstance(error, EmoStreamError) else f"the client failed: {error!r}"
            self.exit(return_code=1, message=f"emostream: {reason}")

    async def _react(self, emoji: str) -> None:
        reaction = model.Reaction(self._user_id, emoji, time.time_ns() // 1_000_000)
        started = time.monotonic()
        self._reaction_text = f"{emoji} sending"
        self._show()
        outcome = await self._sender.send([reaction])
        self._reaction_text = f"{emoji} {_told(outcome, time.monotonic() - started)}"
        self._show()

    def _take(self, message: model.ViewerMessage) -> None:
        if isinstance(message, model.Swarm):
            window_seconds = (message.window.end - message.window.start) / 1000
            self._sky.release(message.swarm, time.monotonic(), window_seconds)
        self._show()

    def _on_viewer_state(self, state: ViewerState) -> None:
        match state:
            case Connecting():
                self._connection_text = "connecting"
            case Live(subscriber, _):
                self._connection_text = f"live from {subscriber}"
            case Waiting(reason, seconds):
                self._connection_text = f"{reason}; again in {seconds:.1f} s"
            case Ended():
                self.exit(state)
        self._show()

    def _show(self) -> None:
        # The viewer may still call this after the screen is closed.
        if not self._is_shown:
            return
        watcher = self._viewer.watcher
        self.query_one("#totals", Static).update(_leaders(watcher.totals, _TOTALS_SHOWN))
        event = "" if self._event == model.MAIN else self._event
        parts = [event, self._connection_text, f"swarm {watcher.sequence}", self._reaction_text, "q quits"]
        self.query_one("#state", Static).update("  ·  ".join(part for part in parts if part))


def _leaders(totals: Mapping[str, int], shown: int) -> str:
    leaders = sorted(totals.items(), key=lambda item: -item[1])[:shown]
    return "   ".join(f"{emoji} {total:,}" for emoji, total in leaders)


def _told(outcome: Outcome, seconds: float) -> str:
    if isinstance(outcome, Accepted):
        return f"accepted in {seconds * 1000:.0f} ms"
    if isinstance(outcome, Refused):
        return f"refused: {outcome.reason}"
    return f"nobody knows: {outcome.reason}"
