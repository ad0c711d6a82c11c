"""`emostream events`: opens, closes and archives events, and says which processes have not applied it."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from emostream import model
from emostream import palette as palettes
from emostream.config import KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.events import store
from emostream.events import table as tables
from emostream.events.table import MAX_PALETTE, Definition, Table
from emostream.model import MAIN
from emostream.runtime.coordination import children, connect, registrations

# The tiers whose registration names the revision that they follow. Publishers relay any record.
_FOLLOWERS = {"ingest", "aggregator", "registry", "subscriber"}
# It reads records with events, and follows no table.
_READERS = {*_FOLLOWERS, "audit"}
_POLL_SECONDS = 0.1
_MOST_NAMED = 5


@dataclass(frozen=True)
class EventOptions:
    """What an operator asks for. None keeps what a known event has; a new one needs a title."""

    title: str | None = None
    palette: Sequence[str] | None = None
    listed: bool | None = None


class Operator:
    """Changes the table of events, and waits until all registered processes have applied the change."""

    def __init__(self, client: KazooClient, kafka: KafkaSettings, timeout_seconds: float) -> None:
        self._client = client
        self._kafka = kafka
        self._timeout_seconds = timeout_seconds

    def open(self, event: str, options: EventOptions) -> None:
        """Open an event. Raises EmoStreamError if a process is of an older release, or if a record has no room."""
        self._refuse_older_processes()

        def opened(table: Table) -> Table:
            return self._with_room(_opened(table, event, options))

        self._change(opened, {event: "open"})

    def close(self, event: str) -> None:
        """Close an event: return once all that was taken for it is counted, and its end is told."""
        self._change(lambda table: tables.closed(table, event), {event: "closed"})

    def archive(self, *events: str, force: bool) -> None:
        """Take events out of the records."""
        retention_ms = self._kafka.reactions_retention_ms

        def archived(table: Table) -> Table:
            for event in events:
                table = tables.archived(table, event, _now_ms(), retention_ms, force=force)
            return table

        self._change(archived, dict.fromkeys(events))

    def bring_about(self, wanted: Sequence["Wanted"]) -> None:
        """Open and close events as a list wants them, all in one change. Raises EmoStreamError like `open`."""
        opens = any(each.state == "open" for each in wanted)
        if opens:
            self._refuse_older_processes()

        def changed(table: Table) -> Table:
            for each in wanted:
                if each.state == "closed":
                    table = tables.closed(table, each.event)
                else:
                    table = _opened(table, each.event, each.options)
            # Closing must stay possible, because an event is closed before it is archived.
            return self._with_room(table) if opens else table

        self._change(changed, {each.event: each.state for each in wanted})

    def table(self) -> Table:
        """Return the table as it is now."""
        return store.read(self._client).view.table

    def restore(self, table: Table) -> Table:
        """Put a table of a backup in place, unless there is one. Returns the one that is there then.

        Raises EmoStreamError if a record has no room for its events.
        """
        store.change(self._client, lambda known: known or self._with_room(table))
        return self.table()

    def _with_room(self, table: Table) -> Table:
        tables.check_room(table, self._kafka.max_record_bytes)
        return table

    def _change(self, how: Callable[[Table], Table], states: Mapping[str, str | None]) -> None:
        """Change the table, and wait until the events have these states and all processes follow.

        Raises EmoStreamError if not all is done in time.
        """
        deadline = time.monotonic() + self._timeout_seconds
        store.change(self._client, how)
        revision, late = None, list[str]()
        while True:
            if revision is None:
                seen = store.read(self._client)
                differing = _differing(states, seen.view.table)
                revision = None if differing else seen.revision
            if revision is not None:
                late = self._not_at(revision)
                if not late:
                    return
            if time.monotonic() > deadline:
                raise self._not_applied(states, late) if late else self._not_done(differing)
            time.sleep(_POLL_SECONDS)

    def _not_applied(self, events: Collection[str], late: Sequence[str]) -> EmoStreamError:
        return EmoStreamError(
            f"{_enumerated(events)}: {', '.join(late)} did not apply the change in {self._timeout_seconds:g} s. It "
            "stays in force, and they apply it as soon as they follow ZooKeeper again."
        )

    def _not_done(self, differing: Mapping[str, str]) -> EmoStreamError:
        states = [f"{event} is still {state}" for event, state in differing.items()]
        return EmoStreamError(
            f"{_enumerated(states)} after {self._timeout_seconds:g} s: does an aggregator lead, and do all ingests "
            "reach ZooKeeper and Kafka? The change goes on without this command."
        )

    def _refuse_older_processes(self) -> None:
        older = [name for tier, name, content in self._processes() if tier in _READERS and "events" not in content]
        if older:
            raise EmoStreamError(
                f"{', '.join(older)}: of an earlier release, which knows no events. Upgrade them first."
            )

    def _not_at(self, revision: int) -> list[str]:
        """The processes that follow an older table."""
        return [
            name
            for tier, name, content in self._processes()
            if tier in _FOLLOWERS and not content.get("events", 0) >= revision
        ]

    def _processes(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Each registered process: its tier, what an operator calls it, and its registration."""
        for root in ("/services", "/subscribers"):
            for group in children(self._client, root):
                tier = group if root == "/services" else "subscriber"
                for name, content in registrations(self._client, f"{root}/{group}"):
                    shown = f"{tier} {name}" if root == "/services" else f"{tier} {group}/{name}"
                    yield tier, shown, content


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An event as a list of events names it, with the fields of `emostream events open`."""

    event: str
    title: str | None = None
    palette: list[str] | None = None
    listed: bool = True
    state: Literal["open", "closed"] = "open"

    @property
    def options(self) -> EventOptions:
        """What to open it with. A list says all of an event, so what it does not name is the default."""
        return EventOptions(self.title or self.event, self.palette or ("default",), self.listed)


def read_list(content: bytes) -> list[Wanted]:
    """Decode a list of events. Raises EmoStreamError if it is none, or if it names an event twice."""
    try:
        wanted = model.decode(content, list[Wanted])
    except msgspec.DecodeError as error:
        raise EmoStreamError(f"this is no JSON list of events: {error}.") from error
    names = [each.event for each in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EmoStreamError(f"the list names {', '.join(twice)} more than once.")
    return wanted


def apply(operator: Operator, wanted: Sequence[Wanted], *, check: bool) -> list[str]:
    """Open and close events until all are as wanted, or with `check` only say what would be done: a sentence each.

    Events that the list does not name stay as they are. Raises EmoStreamError like the single commands.
    """
    table = operator.table()
    differing = {each.event: sentence for each in wanted if (sentence := _difference(each, table))}
    if differing and not check:
        operator.bring_about([each for each in wanted if each.event in differing])
    return list(differing.values())


def _difference(wanted: Wanted, table: Table) -> str:
    """What there is to do about an event; empty if it is as wanted."""
    known = table.get(wanted.event)
    if wanted.state == "closed":
        return f"{wanted.event}: close it" if known is not None and known.state in {"opening", "open"} else ""
    tables.check_id(wanted.event)
    if known is None or known.state != "open":
        return f"{wanted.event}: open it"
    asked = _definition(wanted.event, wanted.options, known)
    fields = ("title", "palette", "listed")
    changed = [name for name in fields if getattr(asked, name) != getattr(known, name)]
    return f"{wanted.event}: set {', '.join(changed)}" if changed else ""


@contextmanager
def operator(zookeeper: ZooKeeperSettings, kafka: KafkaSettings, timeout_seconds: float) -> Iterator[Operator]:
    """Connect for one command. Raises EmoStreamError if ZooKeeper does not answer, then or later."""
    client = connect(zookeeper)
    try:
        yield Operator(client, kafka, timeout_seconds)
    except (KazooException, KazooTimeoutError) as error:
        raise EmoStreamError(
            f"ZooKeeper did not answer ({error!r}), so it is not known whether the change was made: run the command "
            "again."
        ) from error
    finally:
        client.stop()
        client.close()


def lines(table: Table) -> list[str]:
    """Return the table for people: one line an event, `main` first."""
    rows = [("EVENT", "STATE", "LISTED", "EMOJI", "TITLE"), (MAIN, "open", "yes", "", "")]
    rows += [
        (event, each.state, "yes" if each.listed else "no", str(len(each.palette)), each.title)
        for event, each in sorted(table.items())
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def describe(event: str, table: Table) -> str:
    """Return one event as JSON. Raises EmoStreamError if there is none."""
    fields = {"event": event, **msgspec.structs.asdict(tables.definition_of(table, event))}
    return json.dumps(fields, ensure_ascii=False)


def _differing(states: Mapping[str, str | None], table: Table) -> dict[str, str]:
    """Return the events that have another state than this one; None means that the event is gone."""
    found = {event: known.state if (known := table.get(event)) else None for event in states}
    return {event: found[event] or "gone" for event, state in states.items() if found[event] != state}


def _enumerated(names: Collection[str]) -> str:
    """Name the first ones, and say how many more there are."""
    shown = list(names)[:_MOST_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _opened(table: Table, event: str, options: EventOptions) -> Table:
    return tables.opened(table, event, _definition(event, options, table.get(event)), _now_ms())


def _definition(event: str, options: EventOptions, known: Definition | None) -> Definition:
    title = options.title if options.title is not None else known.title if known else ""
    if not 1 <= len(title) <= tables.MAX_TITLE_CHARACTERS:
        raise EmoStreamError(
            f"the event {event} needs a title of 1 to {tables.MAX_TITLE_CHARACTERS} characters: give it with --title."
        )
    listed = options.listed if options.listed is not None else known.listed if known else True
    emoji = known.palette if options.palette is None and known is not None else _emoji(options.palette or ("default",))
    return Definition(title, emoji, "opening", "0" * 11, listed)


def _emoji(words: Sequence[str]) -> tuple[str, ...]:
    """The palette's emoji, fully qualified. Raises EmoStreamError if a word is none, or if there are too many."""
    if "any" in words:
        raise EmoStreamError(f"the palette `any` is for {MAIN} alone: name at most {MAX_PALETTE} emoji.")
    try:
        palettes.accepted(words)
    except ValueError as error:
        raise EmoStreamError(f"the palette cannot be used: {error}.") from error
    emoji = tuple(palettes.buttons(words))
    if len(emoji) > MAX_PALETTE:
        raise EmoStreamError(f"the palette has {len(emoji)} emoji, and an event may have {MAX_PALETTE}.")
    return emoji


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
